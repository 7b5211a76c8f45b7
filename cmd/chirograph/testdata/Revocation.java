import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.*;
import java.util.*;

// Validates a chain as a Java program does, once with the CRL that each
// certificate names and once with OCSP: java Revocation.java LEAF INTERMEDIATE
// ROOT ... ; prints one line for each leaf and method: good, or why it is not.
public class Revocation {
    public static void main(String[] args) throws Exception {
        System.setProperty("com.sun.security.enableCRLDP", "true");
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (int i = 0; i + 2 < args.length; i += 3) {
            List<X509Certificate> chain = new ArrayList<>();
            for (String file : List.of(args[i], args[i + 1], args[i + 2])) {
                if (!file.equals("-")) {
                    try (FileInputStream in = new FileInputStream(file)) {
                        chain.add((X509Certificate) factory.generateCertificate(in));
                    }
                }
            }
            X509Certificate root = chain.remove(chain.size() - 1);
            for (boolean crl : new boolean[] {true, false}) {
                CertPathValidator validator = CertPathValidator.getInstance("PKIX");
                PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
                Set<PKIXRevocationChecker.Option> options = EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK);
                if (crl) options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
                checker.setOptions(options);
                PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
                parameters.addCertPathChecker(checker);
                String result = "good";
                try {
                    validator.validate(factory.generateCertPath(chain), parameters);
                } catch (CertPathValidatorException e) {
                    result = e.getReason() + ": " + e.getMessage();
                    if (e.getCause() instanceof CertificateRevokedException r) {
                        result = "revoked " + r.getRevocationReason() + " " + r.getRevocationDate().getTime() / 1000;
                    }
                }
                System.out.println(Path.of(args[i]).getFileName() + " " + (crl ? "crl" : "ocsp") + " " + result);
            }
        }
    }
}
