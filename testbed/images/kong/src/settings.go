package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listener is one address of a KONG_*_LISTEN variable.
type listener struct {
	address string
	isTLS   bool
	isHTTP2 bool
}

type settings struct {
	prefix          string
	declarativeFile string
	proxy           []listener
	admin           []listener
	status          []listener
	certificates    []string
	keys            []string
	trustedFiles    []string
	trustedIPs      []netip.Prefix
	realIPHeader    string
	realIPRecursive bool
	idleTimeout     time.Duration
	plugins         []string
	headers         []string
	logsAccess      bool
	adminIsClosed   bool

	maxBody, maxAnswerHeaders int64 // bytes; a body of 0: no limit
	maxHeaderLine             int
	ratePerSecond, rateBurst  float64
	connections               int
	nameTTL                   time.Duration
	unknown                   []string
}

// defaults contains the settings that have an effect here, with the values of Kong's kong.conf.default. Two differ: the
// database, which must be off, and the idle timeout (60 s in Kong).
var defaults = map[string]string{
	"database": "", "role": "traditional", "router_flavor": "traditional_compatible",
	"prefix": "/usr/local/kong", "declarative_config": "", "plugins": "bundled",
	"proxy_listen":  "0.0.0.0:8000, 0.0.0.0:8443 http2 ssl",
	"admin_listen":  "127.0.0.1:8001, 127.0.0.1:8444 http2 ssl",
	"status_listen": "127.0.0.1:8007",
	"ssl_cert":      "", "ssl_cert_key": "", "lua_ssl_trusted_certificate": "system",
	"trusted_ips": "", "real_ip_header": "X-Real-IP", "real_ip_recursive": "off",
	"upstream_keepalive_idle_timeout": "15", "proxy_access_log": "logs/access.log",
	"headers":                         "server_tokens, latency_tokens, X-Kong-Request-Id",
	"nginx_admin_access_by_lua_file":  "",
	"nginx_http_client_max_body_size": "0m", "nginx_http_large_client_header_buffers": "4 8k",
	"nginx_proxy_proxy_buffer_size": "4k", "nginx_http_limit_req_zone": "", "nginx_proxy_limit_req": "",
	"nginx_proxy_limit_conn": "", "dns_valid_ttl": "",
}

// withoutEffect lists prefixes of Kong's settings that have no effect here.
var withoutEffect = []string{
	"nginx_", "dns_", "admin_gui_", "resolver_", "mem_cache_size", "anonymous_reports", "log_level",
	"proxy_error_log", "proxy_stream_", "admin_access_log", "admin_error_log", "status_access_log", "status_error_log",
	"headers_upstream", "ssl_cipher_suite", "ssl_protocols", "ssl_ciphers", "worker_", "upstream_keepalive_",
	"lua_", "untrusted_lua", "allow_debug_header", "error_default_type", "stream_listen", "vault_env_", "pg_",
	"request_debug", "client_body_buffer_size",
}

var booleans = map[string]bool{"on": true, "off": false, "true": true, "false": false}

// readSettings turns KONG_* variables into settings. Like Kong, it ignores other names: an orchestrator sets variables
// such as KONG_SERVICE_HOST.
func readSettings(environment []string) (*settings, error) {
	given := map[string]string{}
	for name, value := range defaults {
		given[name] = value
	}
	var problems []error
	var unknown []string
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		name, isOurs := strings.CutPrefix(name, "KONG_")
		if name = strings.ToLower(name); !isOurs || strings.HasSuffix(name, "_file") && !strings.HasPrefix(name, "nginx_") {
			continue
		}
		if _, known := defaults[name]; known {
			given[name] = value
		} else if !slices.ContainsFunc(withoutEffect, func(start string) bool { return strings.HasPrefix(name, start) }) {
			unknown = append(unknown, "KONG_"+strings.ToUpper(name))
		}
	}
	list := func(name string) []string { return splitList(given[name]) }
	demand := func(name string, allowed ...string) {
		if !slices.Contains(allowed, given[name]) {
			problems = append(problems, fmt.Errorf("KONG_%s=%q: this stand-in knows only %s",
				strings.ToUpper(name), given[name], strings.Join(allowed, ", ")))
		}
	}
	demand("database", "off")
	demand("role", "traditional")
	demand("router_flavor", "traditional_compatible", "traditional")

	out := &settings{
		prefix: given["prefix"], declarativeFile: given["declarative_config"],
		certificates: list("ssl_cert"), keys: list("ssl_cert_key"),
		trustedFiles: list("lua_ssl_trusted_certificate"),
		realIPHeader: given["real_ip_header"], plugins: list("plugins"),
		headers: list("headers"), logsAccess: given["proxy_access_log"] != "off",
		unknown: unknown,
	}
	if len(out.certificates) != len(out.keys) {
		problems = append(problems, errors.New("KONG_SSL_CERT and KONG_SSL_CERT_KEY must be set together"))
	}
	for name, into := range map[string]*[]listener{
		"proxy_listen": &out.proxy, "admin_listen": &out.admin, "status_listen": &out.status,
	} {
		var err error
		if *into, err = readListeners(given[name]); err != nil {
			problems = append(problems, fmt.Errorf("KONG_%s: %w", strings.ToUpper(name), err))
		}
	}
	for _, text := range list("trusted_ips") {
		prefix, err := readPrefix(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("KONG_TRUSTED_IPS: %w", err))
		}
		out.trustedIPs = append(out.trustedIPs, prefix)
	}
	if err := out.readLimits(given); err != nil {
		problems = append(problems, err)
	}
	if out.adminIsClosed = given["nginx_admin_access_by_lua_file"] != ""; len(out.admin) > 0 && !out.adminIsClosed {
		problems = append(problems, errors.New("KONG_ADMIN_LISTEN without KONG_NGINX_ADMIN_ACCESS_BY_LUA_FILE: Kong takes "+
			"POST /config there and shows secrets, which this stand-in doesn't do"))
	}
	recursive, known := booleans[given["real_ip_recursive"]]
	if !known {
		problems = append(problems, fmt.Errorf("KONG_REAL_IP_RECURSIVE=%q: on or off", given["real_ip_recursive"]))
	}
	out.realIPRecursive = recursive
	seconds, err := strconv.ParseFloat(given["upstream_keepalive_idle_timeout"], 64)
	if err != nil {
		problems = append(problems, fmt.Errorf("KONG_UPSTREAM_KEEPALIVE_IDLE_TIMEOUT: %w", err))
	}
	out.idleTimeout = time.Duration(seconds * float64(time.Second))
	return out, errors.Join(problems...)
}

// readListeners parses "0.0.0.0:8000, 0.0.0.0:8443 http2 ssl"; "off" means none.
func readListeners(text string) ([]listener, error) {
	if strings.TrimSpace(text) == "off" {
		return nil, nil
	}
	var out []listener
	for _, entry := range splitList(text) {
		words := strings.Fields(entry)
		if _, err := netip.ParseAddrPort(words[0]); err != nil {
			return nil, fmt.Errorf("%q is not off or ADDRESS:PORT", words[0])
		}
		here := listener{address: words[0]}
		for _, word := range words[1:] {
			switch name, _, _ := strings.Cut(word, "="); name {
			case "ssl":
				here.isTLS = true
			case "http2":
				here.isHTTP2 = true
			case "reuseport", "backlog", "deferred", "bind", "ipv6only", "so_keepalive":
			default:
				return nil, fmt.Errorf("%q is not supported by this stand-in", word)
			}
		}
		out = append(out, here)
	}
	return out, nil
}

func readPrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

func splitList(text string) []string {
	var out []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
