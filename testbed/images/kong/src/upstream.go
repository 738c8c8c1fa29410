package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// upstream proxies requests to one service over persistent connections.
type upstream struct {
	service *service
	proxy   *httputil.ReverseProxy
	names   *names
	turn    atomic.Uint32
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

func newUpstream(here *service, s *settings, kept *names) *upstream {
	u := &upstream{service: here, names: kept}
	u.proxy = &httputil.ReverseProxy{
		Rewrite: u.rewrite,
		Transport: &http.Transport{
			DialContext: u.dial, DisableCompression: true,
			MaxIdleConns: 512, MaxIdleConnsPerHost: 512, IdleConnTimeout: s.idleTimeout,
			MaxResponseHeaderBytes: s.maxAnswerHeaders,
			// Kong's own default: proxy_ssl_verify is off.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: here.Host}, //nolint:gosec // see above
		},
		ModifyResponse: func(response *http.Response) error {
			x := exchangeOf(response.Request)
			x.headersAt, x.fromService, x.status = time.Now(), true, response.StatusCode
			return nil
		},
		ErrorHandler: u.fail,
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	return u
}

func (u *upstream) serve(w http.ResponseWriter, x *exchange) {
	u.proxy.ServeHTTP(w, x.request.WithContext(context.WithValue(x.request.Context(), exchangeKey{}, x)))
}

func (u *upstream) rewrite(r *httputil.ProxyRequest) {
	x := exchangeOf(r.In)
	target := upstreamPath(x.route, x.matched, x.path)
	plain, err := url.PathUnescape(target)
	if err != nil {
		plain = target
	}
	address := net.JoinHostPort(u.service.Host, strconv.Itoa(u.service.Port))
	r.Out.URL = &url.URL{Scheme: u.service.Protocol, Host: address, Path: plain, RawPath: target, RawQuery: r.In.URL.RawQuery}
	switch {
	case x.route.PreserveHost:
		r.Out.Host = r.In.Host
	case u.service.Port == map[string]int{"http": 80, "https": 443}[u.service.Protocol]:
		r.Out.Host = u.service.Host
	default:
		r.Out.Host = address
	}
	forwarded := x.client.ip
	if before := r.In.Header.Get("X-Forwarded-For"); before != "" {
		forwarded = before + ", " + x.client.peer
	}
	path, prefix := x.client.path, x.client.prefix
	if path == "" {
		path = r.In.URL.EscapedPath()
	}
	if prefix == "" && x.route.StripPath && x.matched != "/" {
		prefix = x.matched
	}
	for name, value := range map[string]string{
		"X-Real-IP": x.client.ip, "X-Forwarded-For": forwarded, "X-Forwarded-Proto": x.client.scheme,
		"X-Forwarded-Host": x.client.host, "X-Forwarded-Port": x.client.port, "X-Forwarded-Path": path,
		"X-Forwarded-Prefix": prefix, "X-Kong-Request-Id": x.id, "Via": "1.1 " + signature,
	} {
		if r.Out.Header.Del(name); value != "" {
			r.Out.Header.Set(name, value)
		}
	}
}

// dial connects to the name's addresses in turn; a refused connection is retried `retries` times.
func (u *upstream) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		var connection net.Conn
		limit, cancel := context.WithTimeout(ctx, time.Duration(u.service.ConnectTimeout)*time.Millisecond)
		addresses, err := u.names.lookup(limit, host)
		if err == nil {
			chosen := addresses[int(u.turn.Add(1))%len(addresses)]
			connection, err = (&net.Dialer{}).DialContext(limit, network, net.JoinHostPort(chosen, port))
		}
		cancel()
		if err == nil {
			return &timed{Conn: connection, read: u.service.ReadTimeout, write: u.service.WriteTimeout}, nil
		}
		var unknown *net.DNSError
		if ctx.Err() != nil || errors.As(err, &unknown) || attempt >= u.service.Retries {
			return nil, err
		}
	}
}

// fail answers with Kong's message for the error.
func (u *upstream) fail(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r)
	if errors.Is(r.Context().Err(), context.Canceled) {
		x.status = 499 // the client has disconnected
		return
	}
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		w.(*responder).send(x.tooLong())
		return
	}
	logf("error", "%s: %v", u.service.Name, err)
	status, message := http.StatusBadGateway, "An invalid response was received from the upstream server"
	var unknown *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &unknown):
		status, message = http.StatusServiceUnavailable, "name resolution failed"
	case errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded):
		status, message = http.StatusGatewayTimeout, "The upstream server is timing out"
	}
	w.(*responder).send(x.failure(status, message))
}

// timed applies the service's timeouts (milliseconds) to each read and write. A write restarts the timeout of the
// pending read: on an idle connection, it began with the previous answer.
type timed struct {
	net.Conn
	read, write int
}

func (c *timed) Read(into []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(time.Duration(c.read) * time.Millisecond))
	return c.Conn.Read(into)
}

func (c *timed) Write(from []byte) (int, error) {
	now := time.Now()
	_ = c.SetReadDeadline(now.Add(time.Duration(c.read) * time.Millisecond))
	_ = c.SetWriteDeadline(now.Add(time.Duration(c.write) * time.Millisecond))
	return c.Conn.Write(from)
}
