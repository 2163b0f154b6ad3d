import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The monthly instalment of a loan, exact to the cent. Foundry's decimals are strings on the wire. */
class Handler {
    public static void main(String[] args) throws Exception {
        String query = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        BigDecimal principal = decimal(query, "principal");
        BigDecimal monthlyRate = decimal(query, "annualPercent").movePointLeft(2).divide(new BigDecimal(12), 20, RoundingMode.HALF_EVEN);
        int months = decimal(query, "months").intValueExact();

        BigDecimal growth = BigDecimal.ONE.add(monthlyRate).pow(months);
        BigDecimal instalment = monthlyRate.signum() == 0
            ? principal.divide(new BigDecimal(months), 2, RoundingMode.HALF_UP)
            : principal.multiply(monthlyRate).multiply(growth).divide(growth.subtract(BigDecimal.ONE), 2, RoundingMode.HALF_UP);
        System.out.printf("{\"instalment\": \"%s\", \"paid\": \"%s\"}", instalment, instalment.multiply(new BigDecimal(months)));
    }

    /** A number, with or without quotes. A larger handler would take a JSON library. */
    private static BigDecimal decimal(String query, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"?(-?[0-9.]+)\"?").matcher(query);
        if (!found.find()) {
            System.err.println("the query has no number called " + name);
            System.exit(1);
        }
        return new BigDecimal(found.group(1));
    }
}
