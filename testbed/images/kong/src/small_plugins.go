package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// correlationID gives every request an ID, which the logs of all services can contain.
type correlationID struct {
	passive
	HeaderName     string `yaml:"header_name" default:"Kong-Request-ID"`
	Generator      string `yaml:"generator" default:"uuid#counter" one_of:"uuid uuid#counter"`
	EchoDownstream bool   `yaml:"echo_downstream"`
}

var (
	workerID  = newUUID()
	workerRun atomic.Int64
)

func (p *correlationID) access(x *exchange) *answer {
	if x.correlationID = x.request.Header.Get(p.HeaderName); x.correlationID == "" {
		if x.correlationID = newUUID(); p.Generator == "uuid#counter" {
			x.correlationID = fmt.Sprintf("%s#%d", workerID, workerRun.Add(1))
		}
		x.request.Header.Set(p.HeaderName, x.correlationID)
	}
	return nil
}

func (p *correlationID) filter(x *exchange, header http.Header) {
	if x.correlationID == "" { // nginx answered before the plugins ran
		_ = p.access(x)
	}
	if p.EchoDownstream {
		header.Set(p.HeaderName, x.correlationID)
	}
}

func newUUID() string {
	id := requestID()
	return fmt.Sprintf("%s-%s-4%s-a%s-%s", id[:8], id[8:12], id[13:16], id[17:20], id[20:])
}

// sizeLimiting refuses bodies that are too large; a body without a Content-Length is read before it is proxied.
type sizeLimiting struct {
	passive
	AllowedPayloadSize   int    `yaml:"allowed_payload_size" default:"128" between:"0 2147483647"`
	SizeUnit             string `yaml:"size_unit" default:"megabytes" one_of:"megabytes kilobytes bytes"`
	RequireContentLength bool   `yaml:"require_content_length"`
}

var sizeUnits = map[string]int64{"bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20}

func (p *sizeLimiting) access(x *exchange) *answer {
	limit, r := int64(p.AllowedPayloadSize)*sizeUnits[p.SizeUnit], x.request
	tooLong := x.failure(http.StatusRequestEntityTooLarge, "Request size limit exceeded")
	if strings.EqualFold(strings.TrimSpace(r.Header.Get("Expect")), "100-continue") {
		tooLong.status = http.StatusExpectationFailed
	}
	if r.ContentLength > limit {
		return tooLong
	}
	if r.ContentLength >= 0 {
		if p.RequireContentLength && r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
			return x.failure(http.StatusLengthRequired, "A valid Content-Length header is required")
		}
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return x.failure(http.StatusBadRequest, "Bad request")
	}
	if int64(len(body)) > limit {
		return tooLong
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// termination answers instead of the service.
type termination struct {
	passive
	StatusCode  int    `yaml:"status_code" default:"503" between:"100 599"`
	Message     string `yaml:"message"`
	ContentType string `yaml:"content_type"`
	Body        string `yaml:"body"`
}

func (p *termination) check() error {
	if p.Message != "" && (p.ContentType != "" || p.Body != "") {
		return errors.New("message cannot be used with content_type or body")
	}
	if p.ContentType != "" && p.Body == "" {
		return errors.New("content_type requires a body")
	}
	return nil
}

func (p *termination) access(*exchange) *answer {
	if p.Body == "" {
		message := p.Message
		if message == "" {
			message = http.StatusText(p.StatusCode)
		}
		return &answer{status: p.StatusCode, body: map[string]string{"message": message}}
	}
	kind := p.ContentType
	if kind == "" {
		kind = "application/json; charset=utf-8"
	}
	return &answer{status: p.StatusCode, body: p.Body, headers: map[string]string{"Content-Type": kind}}
}

// responseTransformer changes the headers of responses, not their bodies.
type responseTransformer struct {
	passive
	Remove  headerList `yaml:"remove"`
	Rename  headerList `yaml:"rename"`
	Replace headerList `yaml:"replace"`
	Add     headerList `yaml:"add"`
	Append  headerList `yaml:"append"`
}

type headerList struct {
	Headers []string `yaml:"headers"`
}

func (p *responseTransformer) check() error {
	for _, list := range []headerList{p.Rename, p.Replace, p.Add, p.Append} {
		for _, pair := range list.Headers {
			if name, _, isPair := strings.Cut(pair, ":"); !isPair || name == "" {
				return fmt.Errorf("headers: %q is not NAME:VALUE", pair)
			}
		}
	}
	return nil
}

func (p *responseTransformer) filter(_ *exchange, header http.Header) {
	for _, name := range p.Remove.Headers {
		header.Del(name)
	}
	each := func(list headerList, apply func(name, value string)) {
		for _, pair := range list.Headers {
			name, value, _ := strings.Cut(pair, ":")
			apply(name, value)
		}
	}
	each(p.Rename, func(name, value string) {
		if before := header.Values(name); len(before) > 0 {
			header.Del(name)
			header[http.CanonicalHeaderKey(value)] = before
		}
	})
	each(p.Replace, func(name, value string) {
		if header.Get(name) != "" {
			header.Set(name, value)
		}
	})
	each(p.Add, func(name, value string) {
		if header.Get(name) == "" {
			header.Set(name, value)
		}
	})
	each(p.Append, header.Add)
}
