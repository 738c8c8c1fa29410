package main

import (
	"net"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// candidate is one path of a route (or a route without paths) with the plugins that run for it.
type candidate struct {
	route   *route
	prefix  string
	pattern *regexp.Regexp
	chain   []plugin
}

// router finds the route of a request. The route with more kinds of conditions wins, then a pattern, then the longest path.
type router struct {
	candidates  []candidate
	credentials map[string]*jwtSecret
	global      []plugin // for all requests
}

func newRouter(d *declaration) *router {
	out := &router{credentials: map[string]*jwtSecret{}, global: d.chain(nil)}
	for _, credential := range d.Credentials {
		out.credentials[credential.Key] = credential
	}
	for _, r := range d.Routes {
		if r.owner != nil && !r.owner.Enabled {
			continue
		}
		chain := d.chain(r)
		for _, path := range r.Paths {
			here := candidate{route: r, prefix: path, chain: chain}
			if pattern, isPattern := strings.CutPrefix(path, "~"); isPattern {
				here.prefix, here.pattern = "", regexp.MustCompile("^(?:"+strings.TrimPrefix(pattern, "^")+")")
			}
			out.candidates = append(out.candidates, here)
		}
		if len(r.Paths) == 0 {
			out.candidates = append(out.candidates, candidate{route: r, chain: chain})
		}
	}
	sort.SliceStable(out.candidates, func(a, b int) bool {
		return slices.Compare(out.candidates[a].weight(), out.candidates[b].weight()) > 0
	})
	return out
}

func (c *candidate) weight() []int {
	kinds, isPattern, hostRank := 0, 0, 0
	for _, conditions := range [][]string{c.route.Methods, c.route.Hosts, c.route.Paths} {
		kinds += min(len(conditions), 1)
	}
	if c.pattern != nil {
		isPattern = 1
	}
	if len(c.route.Hosts) > 0 && !slices.ContainsFunc(c.route.Hosts, func(h string) bool { return strings.Contains(h, "*") }) {
		hostRank = 1
	}
	return []int{kinds, hostRank, isPattern, isPattern * c.route.RegexPriority, len(c.prefix)}
}

// match returns the candidate and the part of the path that it matched.
func (r *router) match(scheme, method, host, path string) (*candidate, string) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for number := range r.candidates {
		here := &r.candidates[number]
		if scheme == "https" && !slices.Contains(here.route.Protocols, "https") {
			continue
		}
		if len(here.route.Methods) > 0 && !slices.Contains(here.route.Methods, method) {
			continue
		}
		if len(here.route.Hosts) > 0 && !slices.ContainsFunc(here.route.Hosts, func(h string) bool { return matchesHost(h, host) }) {
			continue
		}
		if here.pattern != nil {
			if found := here.pattern.FindString(path); found != "" {
				return here, found
			}
		} else if strings.HasPrefix(path, here.prefix) {
			return here, here.prefix
		}
	}
	return nil, ""
}

func matchesHost(rule, host string) bool {
	if ending, isWild := strings.CutPrefix(rule, "*"); isWild {
		return strings.HasSuffix(host, ending)
	}
	if start, isWild := strings.CutSuffix(rule, "*"); isWild {
		return strings.HasPrefix(host, start)
	}
	return strings.EqualFold(rule, host)
}

// upstreamPath returns the service's path followed by the rest of the request's.
func upstreamPath(r *route, matched, path string) string {
	base, rest := r.owner.Path, path
	if r.StripPath {
		rest = strings.TrimPrefix(path, matched)
		if rest == "" && strings.HasSuffix(path, "/") && len(path) > 1 && base != "" {
			rest = "/"
		}
	} else if path == "/" && base != "" {
		rest = ""
	}
	if rest == "" {
		if base = strings.TrimSuffix(base, "/"); base == "" {
			return "/"
		}
		return base
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(rest, "/")
}

// normalize decodes needless escapes, merges slashes and resolves dots, so that no spelling of a path bypasses a
// route's plugins.
func normalize(escaped string) string {
	var plain strings.Builder
	for number := 0; number < len(escaped); number++ {
		if escaped[number] == '%' && number+2 < len(escaped) {
			if letter, ok := unreserved(escaped[number+1 : number+3]); ok {
				plain.WriteByte(letter)
			} else {
				plain.WriteString(strings.ToUpper(escaped[number : number+3]))
			}
			number += 2
			continue
		}
		plain.WriteByte(escaped[number])
	}
	var kept []string
	parts := strings.Split(plain.String(), "/")
	for number, part := range parts {
		isLast := number == len(parts)-1
		switch part {
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		case "", ".":
		default:
			kept = append(kept, part)
			continue
		}
		if isLast {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

func unreserved(code string) (byte, bool) {
	const digits = "0123456789abcdef"
	high, low := strings.IndexByte(digits, code[0]|0x20), strings.IndexByte(digits, code[1]|0x20)
	if high < 0 || low < 0 {
		return 0, false
	}
	letter := byte(high<<4 | low)
	isLetter := letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9'
	return letter, isLetter || strings.IndexByte("-._~", letter) >= 0
}
