package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
)

// rateLimiting counts requests per period and refuses those beyond the limit.
type rateLimiting struct {
	passive
	Second            float64     `yaml:"second" between:"0.001 9e15"`
	Minute            float64     `yaml:"minute" between:"0.001 9e15"`
	Hour              float64     `yaml:"hour" between:"0.001 9e15"`
	Day               float64     `yaml:"day" between:"0.001 9e15"`
	Month             float64     `yaml:"month" between:"0.001 9e15"`
	Year              float64     `yaml:"year" between:"0.001 9e15"`
	LimitBy           string      `yaml:"limit_by" default:"consumer" one_of:"consumer credential ip service header path"`
	HeaderName        string      `yaml:"header_name"`
	Path              string      `yaml:"path"`
	Policy            string      `yaml:"policy" default:"local" one_of:"local redis"`
	FaultTolerant     bool        `yaml:"fault_tolerant" default:"true"`
	HideClientHeaders bool        `yaml:"hide_client_headers"`
	ErrorCode         int         `yaml:"error_code" default:"429" between:"1 999"`
	ErrorMessage      string      `yaml:"error_message" default:"API rate limit exceeded"`
	SyncRate          float64     `yaml:"sync_rate" default:"-1" between:"-1 -1"`
	Redis             redisConfig `yaml:"redis"`

	scope    *pluginRow
	counters counters
}

type redisConfig struct {
	Host       string `yaml:"host"`
	Port       int    `yaml:"port" default:"6379" between:"0 65535"`
	Timeout    int    `yaml:"timeout" default:"2000" between:"0 2147483646"`
	Username   string `yaml:"username"`
	Password   string `yaml:"password"`
	Database   int    `yaml:"database"`
	SSL        bool   `yaml:"ssl"`
	SSLVerify  bool   `yaml:"ssl_verify"`
	ServerName string `yaml:"server_name"`
}

// period is a calendar window (UTC).
type period struct {
	name   string
	title  string
	window time.Duration
	limit  func(*rateLimiting) float64
	begin  func(time.Time) time.Time
}

const day = 24 * time.Hour

var periods = []period{
	{"second", "Second", time.Second, func(p *rateLimiting) float64 { return p.Second }, truncate(time.Second)},
	{"minute", "Minute", time.Minute, func(p *rateLimiting) float64 { return p.Minute }, truncate(time.Minute)},
	{"hour", "Hour", time.Hour, func(p *rateLimiting) float64 { return p.Hour }, truncate(time.Hour)},
	{"day", "Day", day, func(p *rateLimiting) float64 { return p.Day }, truncate(day)},
	{"month", "Month", 30 * day, func(p *rateLimiting) float64 { return p.Month }, func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}},
	{"year", "Year", 365 * day, func(p *rateLimiting) float64 { return p.Year }, func(t time.Time) time.Time {
		return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	}},
}

func truncate(window time.Duration) func(time.Time) time.Time {
	return func(t time.Time) time.Time { return t.Truncate(window) }
}

func (p *rateLimiting) check() error {
	var lower float64
	for _, one := range periods {
		limit := one.limit(p)
		if limit > 0 && limit < lower {
			return fmt.Errorf("the limit for %s(%.1f) cannot be lower than that of a shorter period(%.1f)", one.name, limit, lower)
		}
		lower = max(lower, limit)
	}
	switch {
	case lower == 0:
		return errors.New("at least one of these fields must be non-empty: 'second', 'minute', 'hour', 'day', 'month', 'year'")
	case p.Policy == "redis" && p.Redis.Host == "":
		return errors.New("redis.host: required field missing")
	case net.ParseIP(p.Redis.ServerName) != nil:
		return errors.New("redis: in 'server_name': must not be an IP")
	case p.LimitBy == "header" && p.HeaderName == "":
		return errors.New("header_name: required field missing")
	case p.LimitBy == "path" && p.Path == "":
		return errors.New("path: required field missing")
	}
	return nil
}

// subject returns the key by which requests are counted; without it, they are counted by address.
func (p *rateLimiting) subject(x *exchange) string {
	var out string
	switch p.LimitBy {
	case "consumer":
		if x.consumer != nil {
			out = x.consumer.ID
		}
	case "credential":
		if x.credential != nil {
			out = x.credential.ID
		}
	case "service":
		if x.route.owner != nil {
			out = x.route.owner.ID
		}
	case "header":
		out = x.request.Header.Get(p.HeaderName)
	case "path":
		if x.path == p.Path {
			out = x.path
		}
	}
	if out == "" {
		return x.client.ip
	}
	return out
}

func (p *rateLimiting) access(x *exchange) *answer {
	now, headers := time.Now().UTC(), map[string]string{}
	serviceID, routeID := p.scope.scopeIDs()
	tightest, reset, exceeded := math.Inf(1), int64(0), false
	for _, one := range periods {
		limit := one.limit(p)
		if limit == 0 {
			continue
		}
		begin := one.begin(now)
		key := fmt.Sprintf("ratelimit:%s:%s:%s:%d:%s", orNone(routeID), orNone(serviceID), p.subject(x), begin.UnixMilli(), one.name)
		used, err := p.counters.take(x.request.Context(), key, limit, one.window)
		if err != nil {
			logf("error", "failed to get usage: %v", err)
			if p.FaultTolerant {
				return nil
			}
			return x.failure(http.StatusInternalServerError, "An unexpected error occurred")
		}
		exceeded = exceeded || used >= limit
		left := max(0, limit-used-1)
		headers["X-RateLimit-Limit-"+one.title] = number(limit)
		headers["X-RateLimit-Remaining-"+one.title] = number(left)
		if left <= tightest {
			tightest = left
			reset = max(1, int64(one.window/time.Second)-int64(now.Sub(begin)/time.Second))
			headers["RateLimit-Limit"], headers["RateLimit-Remaining"] = number(limit), number(left)
			headers["RateLimit-Reset"] = strconv.FormatInt(reset, 10)
		}
	}
	if exceeded {
		headers["Retry-After"] = strconv.FormatInt(reset, 10)
	}
	if !p.HideClientHeaders {
		x.added = headers
	}
	if exceeded {
		return x.failure(p.ErrorCode, p.ErrorMessage)
	}
	return nil
}

func (p *rateLimiting) filter(x *exchange, header http.Header) {
	for name, value := range x.added {
		header.Set(name, value)
	}
}

func orNone(id string) string {
	if id == "" {
		return "00000000-0000-0000-0000-000000000000"
	}
	return id
}

func number(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }
