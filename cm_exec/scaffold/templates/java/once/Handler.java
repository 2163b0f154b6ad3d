import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log. */
class Handler {
    private static final Pattern NAME = Pattern.compile("\"name\"\\s*:\\s*\"");

    public static void main(String[] args) throws IOException {
        String query = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        System.out.write(greet(query).getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

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
