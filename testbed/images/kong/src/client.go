package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// client is the sender of a request, as a trusted peer reports it.
type client struct {
	peer   string // address of the connection
	ip     string // address of the client
	scheme string
	host   string
	port   string
	path   string // as the peer received it; empty if the peer doesn't report it
	prefix string
}

func (s *settings) trusts(text string) bool {
	address, err := netip.ParseAddr(text)
	return err == nil && slices.ContainsFunc(s.trustedIPs, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) })
}

func (s *settings) clientOf(r *http.Request) client {
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	out := client{peer: peer, ip: peer, scheme: "http", host: r.Host}
	if r.TLS != nil {
		out.scheme = "https"
	}
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		out.host = name
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		_, out.port, _ = net.SplitHostPort(local.String())
	}
	if !s.trusts(peer) {
		return out
	}
	out.ip = s.realIP(r, peer)
	for name, into := range map[string]*string{
		"X-Forwarded-Proto": &out.scheme, "X-Forwarded-Host": &out.host, "X-Forwarded-Port": &out.port,
		"X-Forwarded-Path": &out.path, "X-Forwarded-Prefix": &out.prefix,
	} {
		if value := r.Header.Get(name); value != "" {
			*into = value
		}
	}
	return out
}

// realIP reads KONG_REAL_IP_HEADER from its end. It returns the last address or, with KONG_REAL_IP_RECURSIVE, the last
// one that isn't trusted itself. The client may have written the others.
func (s *settings) realIP(r *http.Request, peer string) string {
	named := splitList(strings.Join(r.Header.Values(s.realIPHeader), ","))
	found := peer
	for _, text := range slices.Backward(named) {
		if host, _, err := net.SplitHostPort(text); err == nil {
			text = host
		}
		if _, err := netip.ParseAddr(text); err != nil {
			break
		}
		if found = text; !s.realIPRecursive || !s.trusts(text) {
			break
		}
	}
	return found
}
