// Drives Apache's Java client for the compatibility gate. One source, compiled against rocketmq-client 4.9.8 and 5.5.0.
//
// Commands arrive on standard input, one a line, as `name=value` words; events leave on standard output, one JSON object a
// line. The driver judges nothing: counts, contents and order are judged by the harness. The end of standard input ends it.
// The commands and events are described in ci/compat/README.md.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

public final class Driver {
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private static final Map<String, DefaultMQPushConsumer> CONSUMERS = new ConcurrentHashMap<>();
    private static final Map<String, TransactionMQProducer> TRANSACTIONS = new ConcurrentHashMap<>();
    private static String names;

    public static void main(String[] args) throws Exception {
        names = args[0];
        emit("up").num("pid", ProcessHandle.current().pid()).send();
        ExecutorService jobs = Executors.newCachedThreadPool();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, String> words = new ConcurrentHashMap<>();
            for (String word : line.trim().split(" +")) {
                int eq = word.indexOf('=');
                if (eq > 0) {
                    words.put(word.substring(0, eq), word.substring(eq + 1));
                }
            }
            jobs.submit(() -> obey(words));
        }
        Runtime.getRuntime().halt(0);
    }

    private static void obey(Map<String, String> words) {
        String id = words.get("id");
        try {
            switch (words.get("do")) {
                case "produce" -> produce(id, words);
                case "consume" -> consume(id, words);
                case "stop" -> stop(id);
                case "txstart" -> startTransactions(id, words);
                case "txsend" -> sendTransactions(id, words);
                default -> throw new IllegalArgumentException("unknown command " + words);
            }
        } catch (Throwable cause) {
            emit("failed").text("id", id).text("error", cause.toString()).send();
        }
    }

    private static void produce(String id, Map<String, String> words) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(words.get("group"));
        prepare(producer);
        producer.start();
        String topic = words.get("topic");
        String prefix = words.get("prefix");
        int count = Integer.parseInt(words.get("count"));
        switch (words.get("kind")) {
            case "sync" -> inParallel(4, count, n -> {
                SendResult sent = producer.send(message(topic, prefix, n));
                reportSent(id, prefix, n, sent);
            });
            case "delay" -> {
                int level = Integer.parseInt(words.get("level"));
                for (int n = 0; n < count; n++) {
                    Message delayed = message(topic, prefix, n);
                    delayed.setDelayTimeLevel(level);
                    reportSent(id, prefix, n, producer.send(delayed));
                }
            }
            case "rich" -> {
                for (int n = 0; n < count; n++) {
                    reportSent(id, prefix, n, producer.send(rich(topic, prefix, n, words.containsKey("nul"))));
                }
            }
            case "oneway" -> {
                for (int n = 0; n < count; n++) {
                    producer.sendOneway(message(topic, prefix, n));
                    emit("sent").text("id", id).text("prefix", prefix).num("n", n).text("status", "ONEWAY").send();
                    if (n % 50 == 49) {
                        Thread.sleep(5);
                    }
                }
                Thread.sleep(1000);
            }
            case "ordered" -> {
                int keys = Integer.parseInt(words.get("keys"));
                for (int n = 0; n < count; n++) {
                    for (int key = 0; key < keys; key++) {
                        String keyed = prefix + "-k" + key;
                        SendResult sent = producer.send(message(topic, keyed, n),
                            (queues, m, arg) -> queues.get((Integer) arg % queues.size()), key);
                        reportSent(id, keyed, n, sent);
                    }
                }
            }
            case "batch" -> {
                int size = Integer.parseInt(words.get("size"));
                for (int first = 0; first < count; first += size) {
                    List<Message> batch = new ArrayList<>();
                    for (int n = first; n < first + size; n++) {
                        batch.add(message(topic, prefix, n));
                    }
                    SendResult sent = producer.send(batch);
                    for (int n = first; n < first + size; n++) {
                        emit("sent").text("id", id).text("prefix", prefix).num("n", n)
                            .text("status", sent.getSendStatus().name()).num("queue", sent.getMessageQueue().getQueueId())
                            .num("offset", sent.getQueueOffset() + n - first)
                            .text("msg", sent.getMsgId().split(",")[n - first]).send();
                    }
                }
            }
            default -> throw new IllegalArgumentException("unknown kind " + words);
        }
        producer.shutdown();
        emit("done").text("id", id).num("count", count).send();
    }

    private static void consume(String id, Map<String, String> words) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(words.get("group"));
        consumer.setNamesrvAddr(names);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.setHeartbeatBrokerInterval(5000);
        if (words.containsKey("max")) {
            consumer.setMaxReconsumeTimes(Integer.parseInt(words.get("max")));
        }
        consumer.subscribe(words.get("topic"), "*");
        String fail = words.getOrDefault("fail", "\0");
        switch (words.get("kind")) {
            case "orderly" -> consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                report(id, messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
            case "concurrent", "broadcast" -> {
                if (words.get("kind").equals("broadcast")) {
                    broadcast(consumer);
                }
                consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
                    report(id, messages).contains(fail)
                        ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
            }
            default -> throw new IllegalArgumentException("unknown kind " + words);
        }
        CONSUMERS.put(id, consumer);
        consumer.start();
        emit("ready").text("id", id).send();
    }

    /** MessageModel lives in another package in each generation, so its constant is reached by name. */
    private static void broadcast(DefaultMQPushConsumer consumer) throws Exception {
        for (Method method : consumer.getClass().getMethods()) {
            if (method.getName().equals("setMessageModel")) {
                method.invoke(consumer, method.getParameterTypes()[0].getField("BROADCASTING").get(null));
                return;
            }
        }
        throw new IllegalStateException("this client has no setMessageModel");
    }

    private static void stop(String id) {
        DefaultMQPushConsumer consumer = CONSUMERS.remove(id);
        if (consumer != null) {
            consumer.shutdown();
        }
        TransactionMQProducer producer = TRANSACTIONS.remove(id);
        if (producer != null) {
            producer.shutdown();
        }
        emit("stopped").text("id", id).send();
    }

    private static void startTransactions(String id, Map<String, String> words) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(words.get("group"));
        prepare(producer);
        producer.setHeartbeatBrokerInterval(2000);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                emit("half").text("id", id).text("body", body).send();
                if (body.startsWith("hang")) {
                    sleepForever();
                }
                return decide(body);
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                emit("check").text("id", id).text("body", body).text("topic", message.getTopic())
                    .text("msg", message.getMsgId()).num("at", System.currentTimeMillis()).send();
                return body.startsWith("rollback")
                    ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        producer.start();
        TRANSACTIONS.put(id, producer);
        emit("ready").text("id", id).send();
    }

    private static void sendTransactions(String id, Map<String, String> words) throws Exception {
        TransactionMQProducer producer = TRANSACTIONS.get(id);
        String prefix = words.get("prefix");
        int count = Integer.parseInt(words.get("count"));
        inParallel(prefix.startsWith("hang") ? count : 2, count, n -> {
            SendResult sent = producer.sendMessageInTransaction(message(words.get("topic"), prefix, n), null);
            reportSent(id, prefix, n, sent);
        });
        emit("done").text("id", id).text("prefix", prefix).num("count", count).send();
    }

    private static LocalTransactionState decide(String body) {
        if (body.startsWith("commit")) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }
        return body.startsWith("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
    }

    private static void prepare(DefaultMQProducer producer) {
        producer.setNamesrvAddr(names);
        producer.setSendMsgTimeout(15000);
        producer.setRetryTimesWhenSendFailed(0);
    }

    private static Message message(String topic, String prefix, int n) {
        byte[] body = payload(prefix, n).getBytes(StandardCharsets.UTF_8);
        Message message = new Message(topic, "T" + n % 3, prefix + "-" + n, body);
        message.putUserProperty("seq", Integer.toString(n));
        return message;
    }

    /** A message with everything a client can put into a record; bodies are empty of meaning and differ in kind and length. */
    private static Message rich(String topic, String prefix, int n, boolean nul) {
        byte[] body = new byte[n % 4 == 0 ? 150_000 : 1 + n * 97 % 3000];
        new Random(n).nextBytes(body);
        if (n % 4 == 1) {
            // Long and monotonous: the client compresses it.
            body = "abcdefgh".repeat(2000).getBytes(StandardCharsets.UTF_8);
        }
        Message message = new Message(topic, n % 3 == 0 ? null : "T\u00e9" + n % 3, null, n, body, n % 2 == 0);
        message.setKeys(List.of(prefix + "-" + n, "also-" + n));
        message.setBuyerId("buyer " + n);
        message.setInstanceId("instance-" + n);
        message.putUserProperty("text", "\u00e9\u4e2d \ud83d\ude80 \"quoted\" \\ = & %");
        message.putUserProperty("number", Long.toString(Long.MIN_VALUE + n));
        message.putUserProperty("fraction", Double.toString(n / 3.0));
        message.putUserProperty("flag", Boolean.toString(n % 2 == 0));
        message.putUserProperty("name with blanks", " surrounded ");
        message.putUserProperty("long", "v".repeat(2000));
        if (nul) {
            message.putUserProperty("nul", "a\0b");
        }
        return message;
    }

    /** The harness computes the same text: see `payload` in ci/src/compat/record.rs. */
    private static String payload(String prefix, int n) {
        int length = n % 1000 == 7 ? 6000 : n * 37 % 200;
        StringBuilder text = new StringBuilder(prefix).append('-').append(n).append('-');
        for (int j = 0; j < length; j++) {
            text.append((char) ('a' + (n + j) % 26));
        }
        return text.append("-\u00e9\u4e2d").toString();
    }

    private static String report(String id, List<MessageExt> messages) {
        StringBuilder bodies = new StringBuilder();
        for (MessageExt m : messages) {
            String body = new String(m.getBody(), StandardCharsets.UTF_8);
            bodies.append(body);
            emit("got").text("id", id).text("body", body).text("tag", m.getTags()).text("keys", m.getKeys())
                .text("seq", m.getUserProperty("seq")).text("topic", m.getTopic()).num("queue", m.getQueueId())
                .num("offset", m.getQueueOffset()).num("times", m.getReconsumeTimes()).text("msg", m.getMsgId())
                .text("origin", m.getProperty("RETRY_TOPIC")).num("at", System.currentTimeMillis()).send();
        }
        return bodies.toString();
    }

    private static void reportSent(String id, String prefix, int n, SendResult sent) {
        emit("sent").text("id", id).text("prefix", prefix).num("n", n).text("status", sent.getSendStatus().name())
            .num("queue", sent.getMessageQueue().getQueueId()).num("offset", sent.getQueueOffset())
            .text("msg", sent.getMsgId()).send();
    }

    private interface Job {
        void run(int n) throws Exception;
    }

    private static void inParallel(int threads, int count, Job job) throws Exception {
        AtomicInteger next = new AtomicInteger();
        CountDownLatch finished = new CountDownLatch(threads);
        List<Throwable> failures = java.util.Collections.synchronizedList(new ArrayList<>());
        for (int t = 0; t < threads; t++) {
            new Thread(() -> {
                try {
                    for (int n = next.getAndIncrement(); n < count && failures.isEmpty(); n = next.getAndIncrement()) {
                        job.run(n);
                    }
                } catch (Throwable cause) {
                    failures.add(cause);
                } finally {
                    finished.countDown();
                }
            }).start();
        }
        finished.await();
        if (!failures.isEmpty()) {
            throw new IllegalStateException(failures.get(0));
        }
    }

    private static void sleepForever() {
        while (true) {
            try {
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static Event emit(String name) {
        return new Event(name);
    }

    /** One line of JSON, written whole. */
    private static final class Event {
        private final StringBuilder line = new StringBuilder();

        Event(String name) {
            line.append("{\"ev\":\"").append(name).append('"');
        }

        Event num(String key, long value) {
            line.append(",\"").append(key).append("\":").append(value);
            return this;
        }

        Event text(String key, String value) {
            if (value == null) {
                return this;
            }
            line.append(",\"").append(key).append("\":\"");
            for (int i = 0; i < value.length(); i++) {
                char c = value.charAt(i);
                if (c == '"' || c == '\\') {
                    line.append('\\').append(c);
                } else if (c < ' ') {
                    line.append(String.format("\\u%04x", (int) c));
                } else {
                    line.append(c);
                }
            }
            line.append('"');
            return this;
        }

        void send() {
            synchronized (OUT) {
                OUT.print(line.append("}\n"));
                OUT.flush();
            }
        }
    }
}
