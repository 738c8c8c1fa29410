package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gateway handles the requests of the proxy's listeners.
type gateway struct {
	settings  *settings
	router    *router
	upstreams map[*service]*upstream
	meters    *meters
	clients   *clients
}

// exchange is one request and its response.
type exchange struct {
	gateway    *gateway
	request    *http.Request
	client     client
	id         string
	route      *route
	matched    string
	path       string
	chain      []plugin
	consumer   *consumer
	credential *jwtSecret

	isPreflight   bool
	correlationID string
	added         map[string]string // response headers of rate limiting

	started      time.Time
	sent         time.Time // to the service
	headersAt    time.Time // from the service
	fromService  bool
	status       int
	ingressBytes int64
	egressBytes  int64
}

// answer is a response that the gateway makes itself.
type answer struct {
	status  int
	body    any // nil: empty; string: unchanged; otherwise JSON
	headers map[string]string
}

// failure returns an answer in the format of Kong's errors, which contain the request's ID.
func (x *exchange) failure(status int, message string) *answer {
	return &answer{status: status, body: map[string]string{"message": message, "request_id": x.id}}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{gateway: g, request: r, started: time.Now(), id: requestID(), client: g.settings.clientOf(r)}
	x.path = normalize(r.URL.EscapedPath())
	x.ingressBytes = headerBytes(r.Header) + int64(len(r.RequestURI))
	r.Body = &counted{ReadCloser: r.Body, total: &x.ingressBytes}
	_ = http.NewResponseController(w).EnableFullDuplex()
	out := &responder{ResponseWriter: w, exchange: x}
	defer x.finish()

	// As with Kong, a request that nginx refuses gets the headers of the global plugins.
	x.chain = g.router.global
	if g.settings.tooLarge(r) {
		out.send(x.failure(http.StatusBadRequest, "Request header or cookie too large"))
		return
	}
	if !g.clients.enter(x.client.ip, x.started) {
		out.send(x.failure(http.StatusTooManyRequests, "The upstream server responded with 429"))
		return
	}
	defer g.clients.leave(x.client.ip)
	if limit := g.settings.maxBody; limit > 0 {
		if r.ContentLength > limit {
			out.send(x.tooLong())
			x.linger(w)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	here, matched := g.router.match(x.client.scheme, r.Method, r.Host, x.path)
	if here == nil {
		out.send(x.failure(http.StatusNotFound, "no Route matched with those values"))
		return
	}
	x.route, x.matched, x.chain = here.route, matched, here.chain
	if refusal := x.demandTLS(); refusal != nil {
		out.send(refusal)
		return
	}
	for _, p := range x.chain {
		if made := p.access(x); made != nil {
			out.send(made)
			return
		}
	}
	if x.route.owner == nil {
		out.send(x.failure(http.StatusServiceUnavailable, "no Service found with those values"))
		return
	}
	x.sent = time.Now()
	g.upstreams[x.route.owner].serve(out, x)
}

func (x *exchange) tooLong() *answer {
	return x.failure(http.StatusRequestEntityTooLarge, "Payload too large")
}

// linger reads the rest of a refused body, for as long as nginx does. Otherwise a client that is still sending would
// lose the connection before it reads the response.
func (x *exchange) linger(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	_ = control.Flush()
	_ = control.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.Copy(io.Discard, x.request.Body)
}

// demandTLS answers a request without TLS for a route that only accepts https.
func (x *exchange) demandTLS() *answer {
	if slices.Contains(x.route.Protocols, "http") || x.client.scheme == "https" {
		return nil
	}
	if status := x.route.RedirectStatus; status != http.StatusUpgradeRequired {
		return &answer{status: status, headers: map[string]string{"Location": "https://" + x.client.host + x.request.RequestURI}}
	}
	out := x.failure(http.StatusUpgradeRequired, "Please use HTTPS protocol")
	out.headers = map[string]string{"Connection": "Upgrade", "Upgrade": "TLS/1.2, HTTP/1.1"}
	return out
}

func (x *exchange) finish() {
	if x.gateway.settings.logsAccess {
		r := x.request
		fmt.Fprintf(os.Stdout, "%s - - [%s] %q %d %d %q %q kong_request_id: %q\n", x.client.ip,
			x.started.Format("02/Jan/2006:15:04:05 -0700"), r.Method+" "+r.RequestURI+" "+r.Proto,
			x.status, x.egressBytes, r.Referer(), r.UserAgent(), x.id)
	}
	for _, p := range x.chain {
		p.log(x)
	}
}

// responder runs the plugins' header filters once, just before the head of the response is sent.
type responder struct {
	http.ResponseWriter
	exchange *exchange
	isSent   bool
}

func (w *responder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responder) WriteHeader(status int) {
	x, header := w.exchange, w.Header()
	isInterim := status < 200 && status != http.StatusSwitchingProtocols
	if w.isSent || isInterim {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.isSent, x.status = true, status
	for _, p := range x.chain {
		p.filter(x, header)
	}
	x.describe(header)
	x.egressBytes += headerBytes(header)
	w.ResponseWriter.WriteHeader(status)
}

func (w *responder) Write(body []byte) (int, error) {
	if !w.isSent {
		w.WriteHeader(http.StatusOK)
	}
	written, err := w.ResponseWriter.Write(body)
	w.exchange.egressBytes += int64(written)
	return written, err
}

func (w *responder) send(a *answer) {
	for name, value := range a.headers {
		w.Header().Set(name, value)
	}
	var body []byte
	switch content := a.body.(type) {
	case nil:
	case string:
		body = []byte(content)
	default:
		body, _ = json.Marshal(content)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	if w.exchange.request.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// describe adds the headers that KONG_HEADERS lists.
func (x *exchange) describe(header http.Header) {
	asked := func(names ...string) bool {
		return slices.ContainsFunc(x.gateway.settings.headers, func(one string) bool {
			return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(one, name) })
		})
	}
	if asked("server_tokens") {
		if x.fromService {
			header.Add("Via", "1.1 "+signature)
		} else {
			header.Set("Server", signature)
		}
	}
	if asked("latency_tokens") {
		if x.fromService {
			header.Set("X-Kong-Upstream-Latency", milliseconds(x.headersAt.Sub(x.sent)))
			header.Set("X-Kong-Proxy-Latency", milliseconds(x.sent.Sub(x.started)))
		} else {
			header.Set("X-Kong-Response-Latency", milliseconds(time.Since(x.started)))
		}
	}
	if asked("X-Kong-Request-Id") {
		header.Set("X-Kong-Request-Id", x.id)
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func requestID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return fmt.Sprintf("%x", raw)
}

func headerBytes(header http.Header) (total int64) {
	for name, values := range header {
		for _, value := range values {
			total += int64(len(name) + len(value) + 4)
		}
	}
	return total
}

// counted is a body that counts the bytes read from it.
type counted struct {
	io.ReadCloser
	total *int64
}

func (c *counted) Read(into []byte) (int, error) {
	number, err := c.ReadCloser.Read(into)
	*c.total += int64(number)
	return number, err
}

func logf(level, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "%s [%s] %s\n", time.Now().Format("2006/01/02 15:04:05"), level, fmt.Sprintf(format, values...))
}
