package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// names caches resolved addresses as long as Kong does: 600 s on Docker, or KONG_DNS_VALID_TTL.
type names struct {
	ttl  time.Duration
	lock sync.Mutex
	kept map[string]found
}

type found struct {
	addresses []string
	until     time.Time
}

func (n *names) lookup(ctx context.Context, host string) ([]string, error) {
	n.lock.Lock()
	here, known := n.kept[host]
	n.lock.Unlock()
	if known && time.Now().Before(here.until) {
		return here.addresses, nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	n.kept[host] = found{addresses, time.Now().Add(n.ttl)}
	return addresses, nil
}
