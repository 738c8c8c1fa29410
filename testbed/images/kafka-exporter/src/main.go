// Command kafka_exporter is a small stand-in for danielqsj/kafka_exporter. It has the options and the metric names that
// the platform uses.
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

// queryTimeout limits one collection of the brokers' metrics.
const queryTimeout = 5 * time.Second

// servers is the value of an option that may be repeated.
type servers []string

func (s *servers) String() string { return strings.Join(*s, ",") }

func (s *servers) Set(value string) error {
	*s = append(*s, value)
	return nil
}

// expanded replaces an argument `@FILE` with the lines of the file, like the real exporter.
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
	address := flag.String("web.listen-address", ":9308", "address to listen on")
	login := flag.Bool("sasl.enabled", false, "authenticate with SASL")
	mechanism := flag.String("sasl.mechanism", "", "SASL mechanism: scram-sha512")
	username := flag.String("sasl.username", "", "SASL user")
	password := flag.String("sasl.password", "", "SASL password")
	if err := flag.CommandLine.Parse(expanded(os.Args[1:])); err != nil {
		log.Fatal(err)
	}

	options := []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.RequestRetries(0), kgo.DialTimeout(queryTimeout)}
	if *encrypted {
		options = append(options, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if *login {
		if *mechanism != "scram-sha512" {
			log.Fatalf("this stand-in supports only the mechanism scram-sha512, not %q", *mechanism)
		}
		options = append(options, kgo.SASL(scram.Auth{User: *username, Pass: *password}.AsSha512Mechanism()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*queryTimeout)
	// Like the real exporter, exit if no broker responds at the start.
	if err := client.Ping(ctx); err != nil {
		log.Fatalf("no broker responds: %v", err)
	}
	cancel()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), &cluster{admin: kadm.NewClient(client)})
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	http.HandleFunc("/", func(response http.ResponseWriter, _ *http.Request) {
		_, _ = response.Write([]byte("<title>Kafka exporter (stand-in)</title><a href='/metrics'>Metrics</a>\n"))
	})
	log.Printf("kafka_exporter (stand-in) listens on %s", *address)
	log.Fatal(http.ListenAndServe(*address, nil))
}
