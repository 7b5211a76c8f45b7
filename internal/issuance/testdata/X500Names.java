import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

/** Reads DER names in hex, one a line, and prints X500Principal.getName() of each, in hex of its UTF-8. */
public class X500Names {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        HexFormat hex = HexFormat.of();
        for (String line; (line = in.readLine()) != null; ) {
            String name = new X500Principal(hex.parseHex(line)).getName();
            out.println(hex.formatHex(name.getBytes(StandardCharsets.UTF_8)));
        }
        out.flush();
    }
}
