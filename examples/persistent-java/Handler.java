import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Whether an IBAN's check digits are right. The JVM starts once, and what it has compiled serves all later jobs. */
class Handler {
    private static final Pattern IBAN = Pattern.compile("\"iban\"\\s*:\\s*\"([A-Z0-9 ]+)\"");

    public static void main(String[] args) throws Exception {
        BufferedReader queries = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String query; (query = queries.readLine()) != null; ) {
            Matcher found = IBAN.matcher(query);
            if (!found.find()) {
                System.err.println("the query has no iban");
                System.exit(1);
            }
            System.out.println("{\"valid\": " + isValid(found.group(1).replace(" ", "")) + "}");
        }
    }

    private static boolean isValid(String iban) {
        if (iban.length() < 5) {
            return false;
        }
        StringBuilder digits = new StringBuilder();
        (iban.substring(4) + iban.substring(0, 4)).chars().forEach(c -> digits.append(Character.getNumericValue(c)));
        return new BigInteger(digits.toString()).mod(BigInteger.valueOf(97)).intValue() == 1;
    }
}
