package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// counters stores the counts of rate limiting.
type counters interface {
	// take counts one request and returns the number of earlier ones in the window.
	take(ctx context.Context, key string, limit float64, window time.Duration) (float64, error)
}

// localCounters belong to this process, so each replica allows the whole limit.
type localCounters struct {
	lock  sync.Mutex
	count map[string]*localCounter
	swept time.Time
}

type localCounter struct {
	used float64
	ends time.Time
}

func (c *localCounters) take(_ context.Context, key string, limit float64, window time.Duration) (float64, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	now := time.Now()
	if now.Sub(c.swept) > time.Minute {
		for key, one := range c.count {
			if now.After(one.ends) {
				delete(c.count, key)
			}
		}
		c.swept = now
	}
	here := c.count[key]
	if here == nil {
		here = &localCounter{ends: now.Add(window)}
		c.count[key] = here
	}
	before := here.used
	if before < limit { // a refused request isn't counted
		here.used++
	}
	return before, nil
}

// redisCounters are shared by all replicas, under the keys that Kong uses.
type redisCounters struct{ client *redis.Client }

var countScript = redis.NewScript(`
local count = redis.call("INCR", KEYS[1])
if count == 1 then redis.call("EXPIRE", KEYS[1], ARGV[1]) end
return count - 1`)

func (c *redisCounters) take(ctx context.Context, key string, _ float64, window time.Duration) (float64, error) {
	return countScript.Run(ctx, c.client, []string{key}, int(window/time.Second)).Float64()
}

// newCounters doesn't connect to Redis, so that the gateway starts without Redis. The first request connects.
func newCounters(p *rateLimiting, trusted *x509.CertPool) (counters, error) {
	if p.Policy == "local" {
		return &localCounters{count: map[string]*localCounter{}}, nil
	}
	username, err := resolve(p.Redis.Username)
	if err != nil {
		return nil, err
	}
	password, err := resolve(p.Redis.Password)
	if err != nil {
		return nil, err
	}
	timeout := time.Duration(p.Redis.Timeout) * time.Millisecond
	options := &redis.Options{
		Addr:     net.JoinHostPort(p.Redis.Host, strconv.Itoa(p.Redis.Port)),
		Username: username, Password: password, DB: p.Redis.Database,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout,
		MaxRetries: 1, MinRetryBackoff: -1, MaxRetryBackoff: -1, DialerRetries: 1, DisableIdentity: true,
		ConnMaxIdleTime: 10 * time.Second,
	}
	if p.Redis.SSL {
		name := p.Redis.ServerName
		if name == "" {
			name = p.Redis.Host
		}
		options.TLSConfig = &tls.Config{ServerName: name, RootCAs: trusted, InsecureSkipVerify: !p.Redis.SSLVerify} //nolint:gosec // as configured
	}
	return &redisCounters{client: redis.NewClient(options)}, nil
}

// resolve reads "{vault://env/redis-password}" from the variable REDIS_PASSWORD, as Kong's env vault does.
func resolve(text string) (string, error) {
	if !strings.HasPrefix(text, "{vault://") {
		return text, nil
	}
	name, isEnv := strings.CutPrefix(strings.TrimSuffix(text, "}"), "{vault://env/")
	value, isSet := os.LookupEnv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	if !isEnv || !isSet {
		return "", fmt.Errorf("%s can't be resolved (this stand-in reads vault://env only)", text)
	}
	return value, nil
}

// trustedCertificates reads KONG_LUA_SSL_TRUSTED_CERTIFICATE: files, and "system" for the system's own.
func trustedCertificates(files []string) (*x509.CertPool, error) {
	out := x509.NewCertPool()
	for _, file := range files {
		if file == "system" {
			if system, err := x509.SystemCertPool(); err == nil {
				out = system
			}
		}
	}
	var problems []error
	for _, file := range files {
		if file == "system" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			problems = append(problems, err)
		} else if !out.AppendCertsFromPEM(content) {
			problems = append(problems, fmt.Errorf("%s contains no certificate", file))
		}
	}
	return out, errors.Join(problems...)
}
