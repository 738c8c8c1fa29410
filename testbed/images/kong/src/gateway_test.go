package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const file = `
_format_version: "3.0"
services:
- name: user
  host: %[1]s
  port: %[2]s
  read_timeout: 200
  routes:
  - {name: user, paths: [/api/user]}
  - {name: user-public, paths: [/api/user/public], strip_path: false}
  plugins:
  - {name: rate-limiting, config: {minute: 3, limit_by: ip}}
- {name: gone, host: 127.0.0.1, port: 1, routes: [{name: gone, paths: [/gone]}]}
- {name: nameless, host: nowhere.invalid, routes: [{name: nameless, paths: [/nameless]}]}
consumers:
- {username: pti, jwt_secrets: [{key: pti-calendar, secret: s3cret}]}
plugins:
- {name: jwt, route: user, config: {claims_to_verify: [exp], uri_param_names: [], run_on_preflight: false}}
- {name: cors, config: {origins: ["https://a.example", "https://b.example"], credentials: true}}
- {name: correlation-id, config: {header_name: X-Correlation-ID, generator: uuid, echo_downstream: true}}
- {name: request-size-limiting, config: {allowed_payload_size: 10, size_unit: bytes}}
- {name: prometheus, config: {status_code_metrics: true, per_consumer: true}}
`

// start runs a gateway in front of a service that returns the path and the headers that it received.
func start(t *testing.T) *httptest.Server {
	t.Helper()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s consumer=%s for=%s prefix=%s body=%s", r.Method, r.URL.RequestURI(),
			r.Header.Get("X-Consumer-Username"), r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Prefix"), body)
	}))
	t.Cleanup(behind.Close)
	address, _ := url.Parse(behind.URL)
	path := filepath.Join(t.TempDir(), "kong.yml")
	if err := os.WriteFile(path, fmt.Appendf(nil, file, address.Hostname(), address.Port()), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := readSettings([]string{"KONG_DATABASE=off", "KONG_DECLARATIVE_CONFIG=" + path,
		"KONG_TRUSTED_IPS=127.0.0.1", "KONG_REAL_IP_HEADER=X-Forwarded-For", "KONG_REAL_IP_RECURSIVE=on", "KONG_PROXY_ACCESS_LOG=off", "KONG_ADMIN_LISTEN=off"})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{meters: newMeters()}
	g, err := newGateway(s, n)
	if err != nil {
		t.Fatal(err)
	}
	status := n.statusHandler()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			status.ServeHTTP(w, r)
			return
		}
		g.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front
}

// ask sends a request; headers are NAME, VALUE, …
func ask(t *testing.T, front *httptest.Server, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, front.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for number := 0; number < len(headers); number += 2 {
		r.Header.Set(headers[number], headers[number+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return response, string(content)
}

func token(t *testing.T, issuer, secret string, expires time.Time) string {
	t.Helper()
	made, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": issuer, "exp": expires.Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + made
}

func TestTokens(t *testing.T) {
	front, soon := start(t), time.Now().Add(time.Minute)
	good := token(t, "pti-calendar", "s3cret", soon)
	for name, c := range map[string]struct {
		header, query string
		status        int
		body          string
	}{
		"none":          {"", "", 401, `{"message":"Unauthorized"}`},
		"in the query":  {"", "?jwt=" + good[7:], 401, `{"message":"Unauthorized"}`},
		"expired":       {token(t, "pti-calendar", "s3cret", time.Now().Add(-time.Second)), "", 401, `{"exp":"token expired"}`},
		"wrong secret":  {token(t, "pti-calendar", "other", soon), "", 401, `{"message":"Invalid signature"}`},
		"wrong issuer":  {token(t, "other", "s3cret", soon), "", 401, `{"message":"No credentials found for given 'iss'"}`},
		"unsigned":      {"Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJwdGktY2FsZW5kYXIifQ.", "", 401, `{"message":"Invalid algorithm"}`},
		"not a token":   {"Bearer x", "", 401, `{"message":"Bad token; invalid JSON"}`},
		"valid":         {good, "", 200, "GET /me consumer=pti"},
		"path disguise": {"", "", 401, `{"message":"Unauthorized"}`},
	} {
		path := "/api/user/me"
		if name == "path disguise" {
			path = "/api/%75ser/public/../me"
		}
		response, body := ask(t, front, "GET", path+c.query, "", "Authorization", c.header, "X-Forwarded-For", "203.0.113.1")
		if response.StatusCode != c.status || !strings.HasPrefix(body, c.body) {
			t.Errorf("%s: %d %s", name, response.StatusCode, body)
		}
	}
}

func TestPublicRouteKeepsItsPathAndTheTrustedPeersWord(t *testing.T) {
	front := start(t)
	_, body := ask(t, front, "POST", "/api/user/public/x?a=%2F", "hello", "X-Forwarded-For", "198.51.100.9, 203.0.113.5")
	want := "POST /api/user/public/x?a=%2F consumer= for=198.51.100.9, 203.0.113.5, 127.0.0.1 prefix= body=hello"
	if body != want {
		t.Errorf("%s", body)
	}
}

func TestRateLimitCountsEachRealAddress(t *testing.T) {
	front := start(t)
	for number, want := range []int{200, 200, 200, 429} {
		// Addresses that the client writes before the last one have no effect.
		response, body := ask(t, front, "GET", "/api/user/public", "", "X-Forwarded-For", fmt.Sprintf("10.0.0.%d, 203.0.113.7", number))
		if response.StatusCode != want || response.Header.Get("X-RateLimit-Limit-Minute") != "3" {
			t.Fatalf("request %d: %d %v %s", number, response.StatusCode, response.Header, body)
		}
		if want == 429 && (!strings.Contains(body, `"message":"API rate limit exceeded"`) || response.Header.Get("Retry-After") == "") {
			t.Errorf("%v %s", response.Header, body)
		}
	}
	if response, _ := ask(t, front, "GET", "/api/user/public", "", "X-Forwarded-For", "203.0.113.8"); response.StatusCode != 200 {
		t.Errorf("another address: %d", response.StatusCode)
	}
}

func TestFailures(t *testing.T) {
	front := start(t)
	good := token(t, "pti-calendar", "s3cret", time.Now().Add(time.Minute))
	for path, want := range map[string]int{"/gone": 502, "/nameless": 503, "/api/user/slow": 504, "/none": 404} {
		response, body := ask(t, front, "GET", path, "", "Authorization", good)
		if response.StatusCode != want || !strings.Contains(body, `"message":`) {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
	}
	if response, _ := ask(t, front, "POST", "/gone", "more than ten bytes"); response.StatusCode != 413 {
		t.Errorf("too long: %d", response.StatusCode)
	}
}

func TestBrowsersGetTheirHeadersOnEveryAnswer(t *testing.T) {
	front := start(t)
	preflight, _ := ask(t, front, "OPTIONS", "/api/user/me", "", "Origin", "https://b.example", "Access-Control-Request-Method", "GET")
	refused, _ := ask(t, front, "GET", "/api/user/me", "", "Origin", "https://b.example", "X-Correlation-ID", "mine")
	stranger, _ := ask(t, front, "GET", "/api/user/me", "", "Origin", "https://c.example")
	if preflight.StatusCode != 200 || preflight.Header.Get("Access-Control-Allow-Origin") != "https://b.example" {
		t.Errorf("%v", preflight)
	}
	if refused.StatusCode != 401 || refused.Header.Get("Access-Control-Allow-Origin") != "https://b.example" || refused.Header.Get("X-Correlation-ID") != "mine" {
		t.Errorf("%v", refused)
	}
	if stranger.Header.Get("Access-Control-Allow-Origin") != "" || stranger.Header.Get("X-Correlation-ID") == "" {
		t.Errorf("%v", stranger)
	}
}

func TestMetricsNameServiceRouteAndSource(t *testing.T) {
	front := start(t)
	ask(t, front, "GET", "/api/user/me", "")
	ask(t, front, "GET", "/api/user/public", "")
	_, body := ask(t, front, "GET", "/metrics", "")
	for _, want := range []string{
		`kong_http_requests_total{code="401",consumer="",route="user",service="user",source="kong",workspace="default"} 1`,
		`kong_http_requests_total{code="200",consumer="",route="user-public",service="user",source="service",workspace="default"} 1`,
		"kong_datastore_reachable 1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in:\n%s", want, body)
		}
	}
}

func TestPaths(t *testing.T) {
	for given, want := range map[string]string{
		"": "/", "/a//b/./c/": "/a/b/c/", "/a/../../b": "/b", "/%61%2fb": "/a%2Fb", "/a/..": "/",
	} {
		if got := normalize(given); got != want {
			t.Errorf("normalize(%q) = %q", given, got)
		}
	}
	for _, c := range []struct {
		base, matched, path string
		strip               bool
		want                string
	}{
		{"", "/api", "/api", true, "/"},
		{"", "/api", "/api/x", true, "/x"},
		{"/v1", "/api", "/api", true, "/v1"},
		{"/v1", "/api", "/api/", true, "/v1/"},
		{"/v1/", "/api", "/api", true, "/v1"},
		{"/v1", "/api", "/apix", true, "/v1/x"},
		{"/v1", "/api", "/api/x", false, "/v1/api/x"},
		{"/v1", "/", "/", false, "/v1"},
	} {
		r := &route{StripPath: c.strip, owner: &service{Path: c.base}}
		if got := upstreamPath(r, c.matched, c.path); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestWhatIsUnknownIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{_format_version: "3.0", services: [{name: a, host: b, prot: http}]}`: "services[1].prot: unknown field",
		`{_format_version: 3.0}`:                                                        "_format_version: expected a string",
		`{_format_version: "3.0", plugins: [{name: acl}]}`:                              "plugin 'acl' not enabled",
		`{_format_version: "3.0", upstreams: []}`:                                       "upstreams: unknown field",
		`{_format_version: "3.0", plugins: [{name: cors}, {name: cors}]}`:               "twice",
		`{_format_version: "3.0", plugins: [{name: rate-limiting}]}`:                    "at least one of these fields",
		`{_format_version: "3.0", plugins: [{name: jwt, service: a}]}`:                  `there is no "a"`,
		`{_format_version: "3.0", services: [{name: a, host: b, routes: [{name: c}]}]}`: "must set one of",
	} {
		if _, err := parseDeclaration([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
