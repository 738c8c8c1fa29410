package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clients limits the requests and connections of each address, like nginx' limit_req and limit_conn. The limits apply
// before any plugin runs, and don't need Redis.
type clients struct {
	perSecond, burst float64 // 0: no limit
	connections      int     // 0: no limit

	lock sync.Mutex
	seen map[string]*consumption
}

type consumption struct {
	excess float64
	last   time.Time
	open   int
}

func newClients(s *settings) *clients {
	return &clients{perSecond: s.ratePerSecond, burst: s.rateBurst, connections: s.connections, seen: map[string]*consumption{}}
}

// enter counts a request and returns whether it is within the limits. If so, the caller must call leave at its end.
func (c *clients) enter(address string, now time.Time) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	here := c.seen[address]
	if here == nil {
		here = &consumption{last: now, excess: -1}
		c.seen[address] = here
	}
	if c.perSecond > 0 {
		excess := max(0, here.excess-c.perSecond*now.Sub(here.last).Seconds()+1)
		if excess > c.burst {
			return false
		}
		here.excess, here.last = excess, now
	}
	if c.connections > 0 && here.open >= c.connections {
		return false
	}
	here.open++
	return true
}

func (c *clients) leave(address string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.seen[address].open--
}

// readLimits reads the nginx directives of KONG_NGINX_* that have an effect here.
func (s *settings) readLimits(given map[string]string) error {
	var err error
	number := func(name, prefix, suffix string, fallback float64) float64 {
		words := strings.Fields(given[name])
		if prefix+suffix == "" && len(words) > 0 {
			words = words[len(words)-1:]
		}
		for _, word := range words {
			text, isIt := strings.CutPrefix(word, prefix)
			if text, hasSuffix := strings.CutSuffix(text, suffix); isIt && hasSuffix && err == nil {
				var value float64
				if value, err = strconv.ParseFloat(text, 64); err == nil {
					return value
				}
				err = fmt.Errorf("KONG_%s: %q: %w", strings.ToUpper(name), word, err)
			}
		}
		return fallback
	}
	s.maxBody = int64(number("nginx_http_client_max_body_size", "", "m", 0)) << 20
	s.maxHeaderLine = int(number("nginx_http_large_client_header_buffers", "", "k", 8)) << 10
	s.maxAnswerHeaders = int64(number("nginx_proxy_proxy_buffer_size", "", "k", 4)) << 10
	s.ratePerSecond = number("nginx_http_limit_req_zone", "rate=", "r/m", 0) / 60
	s.rateBurst = number("nginx_proxy_limit_req", "burst=", "", 0)
	s.connections = int(number("nginx_proxy_limit_conn", "", "", 0))
	s.nameTTL = time.Duration(number("dns_valid_ttl", "", "", 600)) * time.Second
	return err
}

// tooLarge returns whether a line of the request's head is longer than nginx accepts.
func (s *settings) tooLarge(r *http.Request) bool {
	if len(r.RequestURI) > s.maxHeaderLine {
		return true
	}
	for name, values := range r.Header {
		for _, value := range values {
			if len(name)+len(": ")+len(value)+len("\r\n") > s.maxHeaderLine {
				return true
			}
		}
	}
	return false
}
