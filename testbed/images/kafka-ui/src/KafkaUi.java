import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/**
 * A stand-in for Kafka UI if its image can't be pulled. It queries the real clusters, and serves the paths of Kafka UI
 * that a test of the deployment needs, in the same format.
 *
 * <p>{@code /actuator/health}, {@code /api/clusters} and {@code /api/clusters/NAME/topics} are paths of Kafka UI. {@code
 * /} is a page that identifies the stand-in. As in Kafka UI, the health endpoint doesn't depend on Kafka.
 */
public final class KafkaUi {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final List<Cluster> clusters;

  private KafkaUi(List<Cluster> clusters) {
    this.clusters = clusters;
  }

  /** Serves on the port in SERVER_PORT until the process receives a signal. */
  public static void main(String[] arguments) throws IOException {
    int port = Integer.parseInt(System.getenv().getOrDefault("SERVER_PORT", "8080"));
    KafkaUi application = new KafkaUi(Cluster.fromEnvironment(System.getenv()));
    HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
    server.createContext("/", application::answer);
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.start();
    System.out.printf("Listening on port %d; clusters: %s%n", port, application.names());
  }

  private String names() {
    return clusters.stream().map(Cluster::name).collect(Collectors.joining(", "));
  }

  private void answer(HttpExchange exchange) throws IOException {
    String path = exchange.getRequestURI().getPath();
    try {
      if (!exchange.getRequestMethod().equals("GET")) {
        send(exchange, 405, "text/plain", "only GET\n".getBytes());
      } else if (path.equals("/")) {
        send(exchange, 200, "text/html; charset=utf-8", page().getBytes("UTF-8"));
      } else if (path.equals("/actuator/health")) {
        sendJson(exchange, 200, Map.of("status", "UP"));
      } else if (path.equals("/api/clusters")) {
        sendJson(exchange, 200, clusters.stream().map(cluster -> cluster.state().summary()).toList());
      } else {
        answerTopics(exchange, path);
      }
    } catch (RuntimeException failure) {
      sendJson(exchange, 500, Map.of("message", String.valueOf(failure)));
    } finally {
      exchange.close();
    }
  }

  private void answerTopics(HttpExchange exchange, String path) throws IOException {
    for (Cluster cluster : clusters) {
      if (path.equals("/api/clusters/" + cluster.name() + "/topics")) {
        sendJson(exchange, 200, Map.of("pageCount", 1, "topics", cluster.state().topics()));
        return;
      }
    }
    sendJson(exchange, 404, Map.of("message", "not found: " + path));
  }

  private String page() {
    StringBuilder page = new StringBuilder("<!doctype html><html lang=en><title>Kafka UI (stand-in)</title>");
    page.append("<h1>Kafka UI (stand-in)</h1><p>This is not Kafka UI: it is a small test program in its place, ");
    page.append("which lists the topics of the real clusters.</p>");
    for (Cluster cluster : clusters) {
      Cluster.State state = cluster.state();
      page.append("<h2>").append(escape(cluster.name())).append(": ").append(state.status()).append("</h2><ul>");
      for (Map<String, Object> topic : state.topics()) {
        page.append("<li>").append(escape(String.valueOf(topic.get("name"))));
      }
      page.append("</ul>");
    }
    return page.append("</html>\n").toString();
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }

  private static void sendJson(HttpExchange exchange, int status, Object value) throws IOException {
    send(exchange, status, "application/json", JSON.writeValueAsBytes(value));
  }

  private static void send(HttpExchange exchange, int status, String type, byte[] body) throws IOException {
    exchange.getResponseHeaders().set("Content-Type", type);
    exchange.sendResponseHeaders(status, body.length);
    exchange.getResponseBody().write(body);
  }
}
