// A web server and a client of the JDK's own classes: selectors, a pool of threads.
//   java Http.java serve ADDRESS PORT
//   java Http.java ask URL...
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.zip.CRC32;

class Http {
    public static void main(String[] words) throws Exception {
        if (words[0].equals("serve")) {
            var server = HttpServer.create(new InetSocketAddress(words[1], Integer.parseInt(words[2])), 64);
            server.createContext("/", Http::answer);
            server.setExecutor(Executors.newFixedThreadPool(8));
            server.start();
        } else {
            ask(Arrays.copyOfRange(words, 1, words.length));
        }
    }

    /** The sum of what was sent, and as many octets as the path says. */
    static void answer(HttpExchange exchange) throws java.io.IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        int size = Integer.parseInt(exchange.getRequestURI().getPath().substring(1));
        exchange.getResponseHeaders().set("X-Sum", body.length + " " + sum(body));
        exchange.sendResponseHeaders(200, size);
        try (var out = exchange.getResponseBody()) {
            out.write(octets(size));
        }
    }

    /** All at once, each with a body. */
    static void ask(String[] urls) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var all = new ArrayList<CompletableFuture<String>>();
        for (String url : urls) {
            var body = HttpRequest.BodyPublishers.ofByteArray(octets(200_000));
            var request = HttpRequest.newBuilder(URI.create(url)).POST(body).build();
            all.add(client.sendAsync(request, BodyHandlers.ofByteArray()).thenApply(answer ->
                answer.statusCode() + " " + answer.headers().firstValue("X-Sum").orElse("none") + " "
                    + answer.body().length + " " + sum(answer.body())));
        }
        for (var one : all) System.out.println(one.get());
        System.exit(0);
    }

    static byte[] octets(int size) {
        byte[] all = new byte[size];
        for (int n = 0; n < size; n++) all[n] = (byte) (n / 251 + n);
        return all;
    }

    static long sum(byte[] octets) {
        var crc = new CRC32();
        crc.update(octets);
        return crc.getValue();
    }
}
