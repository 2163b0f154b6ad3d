import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.DayOfWeek;
import java.time.LocalDate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How many days from Monday to Friday lie between two dates; the first counts, the last does not. */
class Handler {
    public static void main(String[] args) throws Exception {
        BufferedReader queries = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String query; (query = queries.readLine()) != null; ) {
            long days = date(query, "from").datesUntil(date(query, "until")).filter(Handler::isWorkingDay).count();
            System.out.println("{\"days\": " + days + "}");
        }
    }

    private static boolean isWorkingDay(LocalDate date) {
        return date.getDayOfWeek().compareTo(DayOfWeek.FRIDAY) <= 0;
    }

    /** A larger handler would take a JSON library. */
    private static LocalDate date(String query, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"(\\d{4}-\\d\\d-\\d\\d)\"").matcher(query);
        if (!found.find()) {
            System.err.println("the query has no date called " + name);
            System.exit(1);
        }
        return LocalDate.parse(found.group(1));
    }
}
