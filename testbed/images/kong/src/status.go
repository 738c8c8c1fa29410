package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"sync/atomic"
)

// node is the state that the status and admin listeners report.
type node struct {
	meters      *meters
	declaration atomic.Pointer[declaration]
	isDraining  atomic.Bool
}

func (n *node) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.meters.handler())
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, n.status()) })
	mux.HandleFunc("GET /status/ready", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case n.isDraining.Load():
			reply(w, http.StatusServiceUnavailable, message("draining"))
		case n.declaration.Load() == nil:
			reply(w, http.StatusServiceUnavailable, message("no configuration available (empty configuration present)"))
		default:
			reply(w, http.StatusOK, message("ready"))
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusNotFound, message("Not found")) })
	return mux
}

func (n *node) status() map[string]any {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	server := map[string]int64{"total_requests": n.meters.connections.requests.Load()}
	for state, value := range n.meters.connections.states() {
		if state != "total" {
			server["connections_"+state] = value()
		}
	}
	hash := "00000000000000000000000000000000"
	if d := n.declaration.Load(); d != nil {
		hash = d.hash
	}
	heap := fmt.Sprintf("%.2f MiB", float64(memory.HeapInuse)/(1<<20))
	vms := []map[string]any{{"http_allocated_gc": heap, "pid": 1}}
	return map[string]any{
		"server": server, "configuration_hash": hash,
		"memory": map[string]any{"workers_lua_vms": vms, "lua_shared_dicts": map[string]any{}},
	}
}

// adminHandler serves what assets/kong/admin_access.lua allows. Kong runs that file; this stand-in implements its rules.
func (n *node) adminHandler() http.Handler {
	mux := n.readable()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			reply(w, http.StatusMethodNotAllowed, message("the administration API is read-only"))
		case r.Header.Get("Origin") != "" || !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "[::1]"}, host):
			reply(w, http.StatusForbidden, message("for operators alone, as localhost"))
		case !shown.MatchString(normalize(r.URL.EscapedPath())):
			reply(w, http.StatusForbidden, message("not shown: it may hold secrets"))
		default:
			w.Header().Set("Access-Control-Allow-Origin", "http://localhost:8001")
			mux.ServeHTTP(w, r)
		}
	})
}

var shown = regexp.MustCompile(`^(/|/status|/(services|routes)(/[A-Za-z0-9._-]+)?)$`)

func (n *node) readable() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", n.statusHandler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{
			"version": version, "tagline": "A stand-in for Kong", "node_id": nodeID, "stand_in": true,
			"configuration": map[string]any{"database": "off"},
		})
	})
	list := func(path string, rows func(*declaration) []map[string]any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			out := []map[string]any{}
			if d := n.declaration.Load(); d != nil {
				out = append(out, rows(d)...)
			}
			reply(w, http.StatusOK, map[string]any{"data": out, "next": nil})
		})
	}
	list("/services", func(d *declaration) (out []map[string]any) {
		for _, here := range d.Services {
			out = append(out, map[string]any{
				"id": here.ID, "name": here.Name, "protocol": here.Protocol, "host": here.Host, "port": here.Port,
				"path": here.Path, "retries": here.Retries, "connect_timeout": here.ConnectTimeout,
				"read_timeout": here.ReadTimeout, "write_timeout": here.WriteTimeout, "enabled": here.Enabled,
			})
		}
		return out
	})
	list("/routes", func(d *declaration) (out []map[string]any) {
		for _, r := range d.Routes {
			out = append(out, map[string]any{
				"id": r.ID, "name": r.Name, "paths": r.Paths, "hosts": r.Hosts, "methods": r.Methods,
				"protocols": r.Protocols, "strip_path": r.StripPath, "preserve_host": r.PreserveHost,
				"service": serviceOf(r),
			})
		}
		return out
	})
	return mux
}

func serviceOf(r *route) any {
	if r.owner == nil {
		return nil
	}
	return map[string]string{"id": r.owner.ID}
}

func message(text string) map[string]string { return map[string]string{"message": text} }

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Server", signature)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
