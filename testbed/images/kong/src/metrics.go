package main

import (
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// prometheusPlugin records the requests of the routes to which it applies. Each group of metrics is off by default.
type prometheusPlugin struct {
	passive
	PerConsumer           bool `yaml:"per_consumer"`
	StatusCodeMetrics     bool `yaml:"status_code_metrics"`
	AIMetrics             bool `yaml:"ai_metrics"`
	LatencyMetrics        bool `yaml:"latency_metrics"`
	BandwidthMetrics      bool `yaml:"bandwidth_metrics"`
	UpstreamHealthMetrics bool `yaml:"upstream_health_metrics"`
}

// The upper bounds of Kong's histogram buckets, in milliseconds.
var (
	gatewayBuckets  = []float64{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
	upstreamBuckets = []float64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
	nodeID          = newUUID()
)

const workspace = "default"

func (p *prometheusPlugin) log(x *exchange) {
	m, service, route, consumer := x.gateway.meters, "", "", ""
	if x.route != nil {
		route = x.route.Name
		if x.route.owner != nil {
			service = x.route.owner.Name
		}
	}
	if p.PerConsumer && x.consumer != nil {
		consumer = x.consumer.Username
	}
	source := "kong"
	if x.fromService {
		source = "service"
	}
	if p.StatusCodeMetrics {
		m.requests.WithLabelValues(service, route, strconv.Itoa(x.status), source, workspace, consumer).Inc()
	}
	if p.BandwidthMetrics {
		m.bandwidth.WithLabelValues(service, route, "ingress", workspace, consumer).Add(float64(x.ingressBytes))
		m.bandwidth.WithLabelValues(service, route, "egress", workspace, consumer).Add(float64(x.egressBytes))
	}
	if p.LatencyMetrics {
		own, total := time.Since(x.started), time.Since(x.started)
		if x.fromService {
			own = x.sent.Sub(x.started)
			m.upstreamLatency.WithLabelValues(service, route, workspace).Observe(inMilliseconds(x.headersAt.Sub(x.sent)))
		}
		m.requestLatency.WithLabelValues(service, route, workspace).Observe(inMilliseconds(total))
		m.kongLatency.WithLabelValues(service, route, workspace).Observe(inMilliseconds(own))
	}
}

func inMilliseconds(d time.Duration) float64 { return float64(d.Milliseconds()) }

// meters are the metrics, with Kong's names and labels.
type meters struct {
	registry                                     *prometheus.Registry
	requests, bandwidth                          *prometheus.CounterVec
	kongLatency, upstreamLatency, requestLatency *prometheus.HistogramVec
	connections                                  connections
}

func newMeters() *meters {
	perRoute := []string{"service", "route", "workspace"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, perRoute)
	}
	m := &meters{
		registry:        prometheus.NewRegistry(),
		requests:        counter("kong_http_requests_total", "Requests by status", "service", "route", "code", "source", "workspace", "consumer"),
		bandwidth:       counter("kong_bandwidth_bytes", "Bytes in and out", "service", "route", "direction", "workspace", "consumer"),
		kongLatency:     histogram("kong_kong_latency_ms", "Time in the gateway itself", gatewayBuckets),
		upstreamLatency: histogram("kong_upstream_latency_ms", "Time until the service's first byte", upstreamBuckets),
		requestLatency:  histogram("kong_request_latency_ms", "Time of the whole request", upstreamBuckets),
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kong_node_info", Help: "The node"}, []string{"node_id", "version"})
	info.WithLabelValues(nodeID, signature).Set(1)
	reachable := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kong_datastore_reachable", Help: "Always 1 without a database"})
	reachable.Set(1)
	mistakes := prometheus.NewCounter(prometheus.CounterOpts{Name: "kong_nginx_metric_errors_total", Help: "Always 0 here"})
	m.registry.MustRegister(m.requests, m.bandwidth, m.kongLatency, m.upstreamLatency, m.requestLatency, info, reachable, mistakes)
	for state, value := range m.connections.states() {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kong_nginx_connections_total", Help: "Connections by state",
			ConstLabels: prometheus.Labels{"node_id": nodeID, "subsystem": "http", "state": state},
		}, func() float64 { return float64(value()) }))
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kong_nginx_requests_total", Help: "Requests",
		ConstLabels: prometheus.Labels{"node_id": nodeID, "subsystem": "http"},
	}, func() float64 { return float64(m.connections.requests.Load()) }))
	return m
}

func (m *meters) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// connections counts the proxy's connections as nginx does.
type connections struct {
	lock     sync.Mutex
	state    map[net.Conn]http.ConnState
	accepted atomic.Int64
	requests atomic.Int64
}

func (c *connections) change(connection net.Conn, state http.ConnState) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.state == nil {
		c.state = map[net.Conn]http.ConnState{}
	}
	switch state {
	case http.StateNew:
		c.accepted.Add(1)
		c.state[connection] = state
	case http.StateClosed, http.StateHijacked:
		delete(c.state, connection)
	default:
		c.state[connection] = state
	}
}

func (c *connections) in(wanted ...http.ConnState) (total int64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for _, state := range c.state {
		for _, one := range wanted {
			if state == one {
				total++
			}
		}
	}
	return total
}

func (c *connections) states() map[string]func() int64 {
	return map[string]func() int64{
		"accepted": c.accepted.Load,
		"handled":  c.accepted.Load,
		"total":    c.requests.Load,
		"active":   func() int64 { return c.in(http.StateNew, http.StateActive, http.StateIdle) },
		"reading":  func() int64 { return c.in(http.StateNew) },
		"writing":  func() int64 { return c.in(http.StateActive) },
		"waiting":  func() int64 { return c.in(http.StateIdle) },
	}
}
