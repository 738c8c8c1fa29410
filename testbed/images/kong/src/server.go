package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// serve runs until a signal: after SIGTERM, SIGQUIT or SIGINT, requests in flight are completed. (On SIGTERM, Kong aborts
// them; its official image has SIGQUIT as the stop signal.)
func serve(s *settings) error {
	if err := os.MkdirAll(filepath.Dir(pidFile(s.prefix)), 0o755); err != nil { //nolint:gosec // contains a process ID
		return fmt.Errorf("KONG_PREFIX is not writable: %w", err)
	}
	if err := os.WriteFile(pidFile(s.prefix), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil { //nolint:gosec // a process ID
		return fmt.Errorf("KONG_PREFIX is not writable: %w", err)
	}
	for _, name := range s.unknown {
		logf("notice", "%s is no setting that this stand-in knows", name)
	}
	certificates, err := loadCertificates(s)
	if err != nil {
		return err
	}
	n := &node{meters: newMeters()}
	g, err := newGateway(s, n)
	if err != nil {
		return err
	}

	// Bind all ports first: if one is taken, the start fails before any listener responds.
	var servers []*http.Server
	failed := make(chan error, 1)
	open := func(listeners []listener, handler http.Handler, watch func(net.Conn, http.ConnState)) error {
		for _, l := range listeners {
			server := &http.Server{
				Handler: handler, ConnState: watch, ReadHeaderTimeout: time.Minute, IdleTimeout: 75 * time.Second,
				ErrorLog: log.New(io.Discard, "", 0),
			}
			socket, err := net.Listen("tcp", l.address)
			if err != nil {
				return err
			}
			if l.isTLS {
				config := &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
				if l.isHTTP2 {
					config.NextProtos = []string{"h2", "http/1.1"}
				}
				server.TLSConfig = config
			}
			servers = append(servers, server)
			go func() {
				var err error
				if l.isTLS {
					err = server.ServeTLS(socket, "", "")
				} else {
					err = server.Serve(socket)
				}
				if !errors.Is(err, http.ErrServerClosed) {
					failed <- err
				}
			}()
		}
		return nil
	}
	counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.meters.connections.requests.Add(1)
		g.ServeHTTP(w, r)
	})
	err = errors.Join(
		open(s.proxy, counting, n.meters.connections.change),
		open(s.admin, n.adminHandler(), nil),
		open(s.status, n.statusHandler(), nil),
	)
	if err != nil {
		return err
	}
	logf("notice", "%s (a stand-in for Kong) answers on %d addresses", signature, len(servers))

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case got := <-signals:
		logf("notice", "%v: letting the requests in flight end", got)
	}
	n.isDraining.Store(true)
	for _, server := range servers {
		if err := server.Shutdown(context.Background()); err != nil {
			return err
		}
	}
	return os.Remove(pidFile(s.prefix))
}

// newGateway reads the declarative file. Without one, it answers 404 to everything and isn't ready, like Kong.
func newGateway(s *settings, n *node) (*gateway, error) {
	d := &declaration{}
	if s.declarativeFile != "" {
		content, err := os.ReadFile(s.declarativeFile)
		if err != nil {
			return nil, fmt.Errorf("error parsing declarative config file %s: %w", s.declarativeFile, err)
		}
		if d, err = parseDeclaration(content, s.plugins); err != nil {
			return nil, fmt.Errorf("error parsing declarative config file %s: %w", s.declarativeFile, err)
		}
		n.declaration.Store(d)
	}
	trusted, err := trustedCertificates(s.trustedFiles)
	if err != nil {
		return nil, fmt.Errorf("KONG_LUA_SSL_TRUSTED_CERTIFICATE: %w", err)
	}
	g := &gateway{settings: s, router: newRouter(d), upstreams: map[*service]*upstream{}, meters: n.meters, clients: newClients(s)}
	kept := &names{ttl: s.nameTTL, kept: map[string]found{}}
	for _, here := range d.Services {
		g.upstreams[here] = newUpstream(here, s, kept)
	}
	for _, row := range d.Plugins {
		if limiting, is := row.plugin.(*rateLimiting); is {
			if limiting.counters, err = newCounters(limiting, trusted); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

// loadCertificates reads KONG_SSL_CERT and KONG_SSL_CERT_KEY; without them, it creates a self-signed one, like Kong.
func loadCertificates(s *settings) ([]tls.Certificate, error) {
	var out []tls.Certificate
	for number, file := range s.certificates {
		pair, err := tls.LoadX509KeyPair(file, s.keys[number])
		if err != nil {
			return nil, fmt.Errorf("KONG_SSL_CERT: %w", err)
		}
		out = append(out, pair)
	}
	if len(out) > 0 {
		return out, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
	content, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return []tls.Certificate{{Certificate: [][]byte{content}, PrivateKey: key}}, nil
}
