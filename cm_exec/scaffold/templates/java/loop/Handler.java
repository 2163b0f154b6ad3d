import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A greeting. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log. */
class Handler {
    private static final Pattern NAME = Pattern.compile("\"name\"\\s*:\\s*\"");

    public static void main(String[] args) throws IOException {
        BufferedReader queries = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (OutputStream results = new FileOutputStream("/dev/fd/3")) {
            for (String query; (query = queries.readLine()) != null; ) {
                results.write((greet(query) + "\n").getBytes(StandardCharsets.UTF_8));
            }
        }
    }

    /** Serves one query. An exit gives this job the error, and the next one a new process. */
    private static String greet(String query) {
        String name = nameOf(query);
        if (name.isEmpty()) {
            System.err.println("the name is empty");
            System.exit(1);
        }
        return "\"Hello, " + name + "!\"";
    }

    /**
     * Returns the name as JSON writes it, without its quotes. Java has no JSON library; copying the raw text preserves
     * Unicode and escapes. With more inputs use a library, such as Jackson or Gson.
     */
    private static String nameOf(String query) {
        Matcher found = NAME.matcher(query);
        if (!found.find()) {
            return "";
        }
        int end = found.end();
        while (query.charAt(end) != '"') {
            end += query.charAt(end) == '\\' ? 2 : 1;
        }
        return query.substring(found.end(), end);
    }
}
