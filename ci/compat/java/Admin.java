// Runs Apache's own mqadmin, command after command, in one JVM: the same entry point as the launcher's, without its start-up
// time for each. A line on standard input is `id command argument …`; the answer is one JSON object a line with all it printed.

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.rocketmq.tools.command.MQAdminStartup;

public final class Admin {
    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        answers.print("{\"ev\":\"up\"}\n");
        answers.flush();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split(" +");
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream capture = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(capture);
            System.setErr(capture);
            Commands.forget();
            MQAdminStartup.main0(Arrays.copyOfRange(words, 1, words.length), null);
            capture.flush();
            answers.print("{\"ev\":\"ran\",\"id\":" + quote(words[0]) + ",\"body\":"
                + quote(printed.toString(StandardCharsets.UTF_8)) + "}\n");
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    /** A launcher's process runs one command; in the next one, some would use the connection that they closed. */
    private static final class Commands extends MQAdminStartup {
        static void forget() {
            SUB_COMMANDS.clear();
        }
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
