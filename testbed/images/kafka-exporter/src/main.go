// Command kafka_exporter is a small stand-in for danielqsj/kafka_exporter: the same options and metric names, as far as
// the platform uses them.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// patience is how long one look at the brokers may take.
const patience = 5 * time.Second

// servers is an option that may be given several times.
type servers []string

func (s *servers) String() string { return strings.Join(*s, ",") }

func (s *servers) Set(value string) error {
	*s = append(*s, value)
	return nil
}

// expanded takes the lines of a file for arguments where one begins with @, as the exporter's command line does.
func expanded(arguments []string) []string {
	var found []string
	for _, argument := range arguments {
		name, isFile := strings.CutPrefix(argument, "@")
		if !isFile {
			found = append(found, argument)
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		found = append(found, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	return found
}

func main() {
	var brokers servers
	flag.Var(&brokers, "kafka.server", "host:port of a broker; may be repeated")
	encrypted := flag.Bool("tls.enabled", false, "connect with TLS")
	address := flag.String("web.listen-address", ":9308", "where to answer")
	login := flag.Bool("sasl.enabled", false, "log in")
	mechanism := flag.String("sasl.mechanism", "", "how: scram-sha512")
	username := flag.String("sasl.username", "", "who")
	password := flag.String("sasl.password", "", "what only they know")
	if err := flag.CommandLine.Parse(expanded(os.Args[1:])); err != nil {
		log.Fatal(err)
	}

	options := []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.RequestRetries(0), kgo.DialTimeout(patience)}
	if *encrypted {
		options = append(options, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if *login {
		if *mechanism != "scram-sha512" {
			log.Fatalf("this stand-in knows the mechanism scram-sha512 alone, not %q", *mechanism)
		}
		options = append(options, kgo.SASL(scram.Auth{User: *username, Pass: *password}.AsSha512Mechanism()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	// The exporter itself ends, too, when no broker answers at its start.
	if err := client.Ping(ctx); err != nil {
		log.Fatalf("no broker answers: %v", err)
	}
	cancel()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), &cluster{admin: kadm.NewClient(client)})
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	http.HandleFunc("/", func(response http.ResponseWriter, _ *http.Request) {
		_, _ = response.Write([]byte("<title>Kafka exporter (stand-in)</title><a href='/metrics'>Metrics</a>\n"))
	})
	log.Printf("kafka_exporter (stand-in) answers on %s", *address)
	log.Fatal(http.ListenAndServe(*address, nil))
}
