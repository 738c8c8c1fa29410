import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.KafkaFuture;

/** One Kafka cluster, configured by the variables {@code KAFKA_CLUSTERS_n_*}. Each request queries it again. */
final class Cluster {
  private static final int TIMEOUT_MS = 3000;

  private final String name;
  private final Properties connection = new Properties();
  private Admin admin;

  private Cluster(String name) {
    this.name = name;
  }

  /** The state of a cluster: its status as Kafka UI names it, its brokers and topics, or the error of the query. */
  record State(String name, String status, int brokerCount, List<Map<String, Object>> topics, String error) {

    /** Returns the cluster in the format of Kafka UI's API. */
    Map<String, Object> summary() {
      Map<String, Object> shown = new LinkedHashMap<>();
      shown.put("name", name);
      shown.put("status", status);
      shown.put("lastError", error == null ? null : Map.of("message", error));
      shown.put("brokerCount", brokerCount);
      shown.put("topicCount", topics.size());
      return shown;
    }
  }

  /** Returns the clusters, numbered from 0 without a gap. {@code _PROPERTIES_*} has additional connection settings. */
  static List<Cluster> fromEnvironment(Map<String, String> environment) {
    List<Cluster> clusters = new ArrayList<>();
    for (int number = 0; ; number++) {
      String prefix = "KAFKA_CLUSTERS_" + number + "_";
      String servers = environment.get(prefix + "BOOTSTRAPSERVERS");
      if (servers == null) {
        return clusters;
      }
      Cluster cluster = new Cluster(environment.getOrDefault(prefix + "NAME", "Default"));
      cluster.connection.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, servers);
      cluster.connection.put(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, TIMEOUT_MS);
      cluster.connection.put(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, TIMEOUT_MS);
      environment.forEach(
          (variable, value) -> {
            if (variable.startsWith(prefix + "PROPERTIES_")) {
              String setting = variable.substring((prefix + "PROPERTIES_").length());
              cluster.connection.put(setting.toLowerCase().replace('_', '.'), value);
            }
          });
      clusters.add(cluster);
    }
  }

  String name() {
    return name;
  }

  /** Queries the cluster. If it doesn't respond in time, it is reported as offline. */
  synchronized State state() {
    try {
      if (admin == null) {
        admin = Admin.create(connection); // created on first use, because it fails while the host name doesn't resolve
      }
      int brokers = get(admin.describeCluster().nodes()).size();
      Collection<String> names = get(admin.listTopics(new ListTopicsOptions().listInternal(true)).names());
      List<Map<String, Object>> topics =
          get(admin.describeTopics(names).allTopicNames()).values().stream().map(Cluster::topic).toList();
      return new State(name, "online", brokers, topics, null);
    } catch (KafkaException | ExecutionException | TimeoutException failure) {
      return new State(name, "offline", 0, List.of(), String.valueOf(failure));
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      return new State(name, "offline", 0, List.of(), "interrupted");
    }
  }

  private static <T> T get(KafkaFuture<T> answer)
      throws ExecutionException, InterruptedException, TimeoutException {
    return answer.get(TIMEOUT_MS, TimeUnit.MILLISECONDS);
  }

  private static Map<String, Object> topic(TopicDescription topic) {
    Map<String, Object> shown = new LinkedHashMap<>();
    shown.put("name", topic.name());
    shown.put("internal", topic.isInternal());
    shown.put("partitionCount", topic.partitions().size());
    shown.put("replicationFactor", topic.partitions().get(0).replicas().size());
    return shown;
  }
}
