package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// cors answers preflight requests, and adds CORS headers to all other responses.
type cors struct {
	passive
	Origins           []string `yaml:"origins"`
	Methods           []string `yaml:"methods" default:"GET HEAD PUT PATCH POST DELETE OPTIONS TRACE CONNECT" one_of:"GET HEAD PUT PATCH POST DELETE OPTIONS TRACE CONNECT"`
	Headers           []string `yaml:"headers"`
	ExposedHeaders    []string `yaml:"exposed_headers"`
	MaxAge            *float64 `yaml:"max_age"`
	Credentials       bool     `yaml:"credentials"`
	PrivateNetwork    bool     `yaml:"private_network"`
	PreflightContinue bool     `yaml:"preflight_continue"`

	rules []originRule
}

// originRule is one entry of `origins`: a pattern if it contains more than letters, digits and .:/-
type originRule struct {
	plain   string
	pattern *regexp.Regexp
	byHost  bool
}

var plainOrigin = regexp.MustCompile(`^[A-Za-z0-9.:/-]+$`)

func (p *cors) check() error {
	for _, text := range p.Origins {
		rule := originRule{plain: withoutDefaultPort(text), byHost: !strings.Contains(text, ":")}
		if text != "*" && !plainOrigin.MatchString(text) {
			pattern, err := regexp.Compile("^(?:" + strings.TrimSuffix(strings.TrimPrefix(text, "^"), "$") + ")$")
			if err != nil {
				return err
			}
			rule.pattern = pattern
		}
		p.rules = append(p.rules, rule)
	}
	return nil
}

func (p *cors) access(x *exchange) *answer {
	r := x.request
	if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return nil
	}
	x.isPreflight = true
	if p.PreflightContinue {
		return nil
	}
	header := http.Header{}
	p.allowOrigin(r, header)
	allowed := strings.Join(p.Headers, ",")
	if allowed == "" {
		allowed = r.Header.Get("Access-Control-Request-Headers")
	}
	if allowed != "" {
		header.Set("Access-Control-Allow-Headers", allowed)
	}
	header.Set("Access-Control-Allow-Methods", strings.Join(p.Methods, ","))
	if p.MaxAge != nil {
		header.Set("Access-Control-Max-Age", strconv.FormatFloat(*p.MaxAge, 'f', -1, 64))
	}
	if p.PrivateNetwork && r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		header.Set("Access-Control-Allow-Private-Network", "true")
	}
	out := &answer{status: http.StatusOK, headers: map[string]string{}}
	for name := range header {
		out.headers[name] = header.Get(name)
	}
	return out
}

func (p *cors) filter(x *exchange, header http.Header) {
	if x.isPreflight {
		return
	}
	p.allowOrigin(x.request, header)
	if len(p.ExposedHeaders) > 0 {
		header.Set("Access-Control-Expose-Headers", strings.Join(p.ExposedHeaders, ","))
	}
}

// allowOrigin sets the headers for the origin that may read the response, and for credentials.
func (p *cors) allowOrigin(r *http.Request, header http.Header) {
	origin := r.Header.Get("Origin")
	allowed, isAnyone := p.allowed(origin)
	if header.Del("Access-Control-Allow-Origin"); allowed != "" {
		header.Set("Access-Control-Allow-Origin", allowed)
	}
	if !isAnyone {
		header.Add("Vary", "Origin")
	}
	switch {
	case !p.Credentials:
	case !isAnyone:
		header.Set("Access-Control-Allow-Credentials", "true")
	case origin != "":
		header.Add("Vary", "Origin")
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	}
}

func (p *cors) allowed(origin string) (value string, isAnyone bool) {
	if len(p.rules) == 0 || (len(p.rules) == 1 && p.rules[0].plain == "*") {
		return "*", true
	}
	if len(p.rules) == 1 && p.rules[0].pattern == nil {
		return p.Origins[0], false
	}
	if origin == "" {
		return "", false
	}
	normal := withoutDefaultPort(origin)
	for _, rule := range p.rules {
		subject := normal
		if parsed, err := url.Parse(normal); err == nil && rule.byHost && parsed.Host != "" {
			subject = parsed.Hostname()
		}
		switch {
		case rule.plain == "*":
			return "*", true
		case rule.pattern != nil && rule.pattern.MatchString(subject), rule.pattern == nil && rule.plain == normal:
			return normal, false
		}
	}
	return "", false
}

func withoutDefaultPort(origin string) string {
	parsed, err := url.Parse(origin)
	if err != nil || parsed.Host == "" {
		return origin
	}
	if port := map[string]string{"http": "80", "https": "443"}[parsed.Scheme]; parsed.Port() == port {
		return parsed.Scheme + "://" + parsed.Hostname()
	}
	return parsed.Scheme + "://" + parsed.Host
}
