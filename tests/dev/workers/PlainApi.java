import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A worker that speaks the plain API as the newest official Java SDK does: no token, jobs without envelope, any 2xx. */
class PlainApi {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();
    private static final Pattern JOB = Pattern.compile("\\{\"jobId\":\"([^\"]+)\",\"queryType\":\"([^\"]+)\",\"query\":(.*)\\}");
    private static final String OCTETS = "application/octet-stream";

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        String schema = "[{\"functionName\":\"echo\",\"inputs\":[],\"output\":{\"type\":\"single\","
            + "\"single\":{\"dataType\":{\"type\":\"string\",\"string\":{}}}}}]";
        send(post(System.getenv("POST_SCHEMA_URI_V2"), "application/json", schema));
        String restart = System.getenv().getOrDefault("RESTART_URI_V2", "http://127.0.0.1:8946/restart-notify");
        try {
            send(post(restart, OCTETS, ""));
        } catch (IOException error) {
            System.out.println("restart: " + error);
        }
        while (true) {
            HttpResponse<String> response = send(HttpRequest.newBuilder(URI.create(System.getenv("GET_JOB_URI_V2"))).build());
            if (response.statusCode() / 100 != 2) {
                System.out.println("poll: " + response.statusCode() + " " + response.body());
                Thread.sleep(1000);
            } else if (response.statusCode() == 200) {
                pool.submit(() -> answer(response.body()));
            }
        }
    }

    private static Void answer(String job) throws Exception {
        Matcher match = JOB.matcher(job);
        if (!match.matches()) {
            System.out.println("dropped, since it is unreadable: " + job);
            return null;
        }
        String id = match.group(1);
        String result = match.group(2).equals("echo")
            ? match.group(3).replaceFirst(",\"userId\":\"[^\"]*\"$", "")
            : "JobId: " + id + "\nRequested function not found";
        for (int attempt = 0; attempt < 5; attempt++) {
            HttpResponse<String> response = send(post(System.getenv("POST_RESULT_URI_V2") + "/" + id, OCTETS, result));
            if (response.statusCode() / 100 == 2) {
                return null;
            }
            Thread.sleep(1000);
        }
        return null;
    }

    private static HttpRequest post(String uri, String type, String body) {
        return HttpRequest.newBuilder(URI.create(uri)).header("Content-Type", type).POST(BodyPublishers.ofString(body)).build();
    }

    private static HttpResponse<String> send(HttpRequest request) throws Exception {
        return CLIENT.send(request, BodyHandlers.ofString());
    }
}
