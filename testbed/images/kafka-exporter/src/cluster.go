package main

import (
	"context"
	"log"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
)

var (
	brokers         = metric("kafka_brokers", "Number of available brokers.")
	partitions      = metric("kafka_topic_partitions", "Partitions of the topic.", "topic")
	newest          = metric("kafka_topic_partition_current_offset", "Offset of the next message.", "topic", "partition")
	oldest          = metric("kafka_topic_partition_oldest_offset", "Offset of the oldest message.", "topic", "partition")
	leader          = metric("kafka_topic_partition_leader", "Broker that leads the partition.", "topic", "partition")
	replicas        = metric("kafka_topic_partition_replicas", "Replicas of the partition.", "topic", "partition")
	inSync          = metric("kafka_topic_partition_in_sync_replica", "Replicas in sync.", "topic", "partition")
	underReplicated = metric("kafka_topic_partition_under_replicated_partition", "1 if a replica is behind.", "topic", "partition")
	members         = metric("kafka_consumergroup_members", "Members of the group.", "consumergroup")
	committed       = metric("kafka_consumergroup_current_offset", "Committed offset of the group.", "consumergroup", "topic", "partition")
	lag             = metric("kafka_consumergroup_lag", "Messages that the group has not read.", "consumergroup", "topic", "partition")
)

// metric describes one metric family, named as in the real exporter.
func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// cluster is a collector that queries the brokers at each scrape.
type cluster struct {
	admin *kadm.Client
}

func (c *cluster) Describe(out chan<- *prometheus.Desc) { out <- brokers }

// Collect sends the metrics; if no broker responds, only the number of brokers, 0.
func (c *cluster) Collect(out chan<- prometheus.Metric) {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	found, err := c.admin.Metadata(ctx)
	if err != nil {
		log.Printf("no metadata: %v", err)
		gauge(brokers, 0)
		return
	}
	gauge(brokers, float64(len(found.Brokers)))
	for _, topic := range found.Topics.Sorted() {
		gauge(partitions, float64(len(topic.Partitions)), topic.Topic)
		for _, one := range topic.Partitions.Sorted() {
			labels := []string{topic.Topic, strconv.Itoa(int(one.Partition))}
			gauge(leader, float64(one.Leader), labels...)
			gauge(replicas, float64(len(one.Replicas)), labels...)
			gauge(inSync, float64(len(one.ISR)), labels...)
			behind := 0.0
			if len(one.ISR) < len(one.Replicas) {
				behind = 1
			}
			gauge(underReplicated, behind, labels...)
		}
	}
	c.offsets(ctx, gauge)
	c.groups(ctx, gauge)
}

func (c *cluster) offsets(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	for about, list := range map[*prometheus.Desc]func(context.Context, ...string) (kadm.ListedOffsets, error){
		newest: c.admin.ListEndOffsets,
		oldest: c.admin.ListStartOffsets,
	} {
		listed, err := list(ctx)
		if err != nil {
			log.Printf("offsets: %v", err)
		}
		listed.Each(func(one kadm.ListedOffset) {
			if one.Err == nil {
				gauge(about, float64(one.Offset), one.Topic, strconv.Itoa(int(one.Partition)))
			}
		})
	}
}

func (c *cluster) groups(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	lags, err := c.admin.Lag(ctx)
	if err != nil {
		log.Printf("groups: %v", err)
	}
	for _, group := range lags.Sorted() {
		gauge(members, float64(len(group.Members)), group.Group)
		for _, one := range group.Lag.Sorted() {
			if one.Lag < 0 {
				continue
			}
			labels := []string{group.Group, one.Topic, strconv.Itoa(int(one.Partition))}
			gauge(committed, float64(one.Commit.At), labels...)
			gauge(lag, float64(one.Lag), labels...)
		}
	}
}
