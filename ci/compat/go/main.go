// Drives Apache's Go client for the compatibility gate.
//
// Commands arrive on standard input, one a line, as name=value words; events leave on standard output, one JSON object a
// line. The driver judges nothing: counts, contents and order are judged by the harness. The end of standard input ends it.
// The commands and events are described in ci/compat/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

type event map[string]any
type words map[string]string

var (
	names        []string
	outLock      sync.Mutex
	out          = bufio.NewWriter(os.Stdout)
	tableLock    sync.Mutex
	consumers    = map[string]rocketmq.PushConsumer{}
	transactions = map[string]rocketmq.TransactionProducer{}
)

func main() {
	names = []string{os.Args[1]}
	rlog.SetLogLevel("error")
	emit("up", event{"pid": os.Getpid()})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		w := words{}
		for _, word := range strings.Fields(lines.Text()) {
			if name, value, ok := strings.Cut(word, "="); ok {
				w[name] = value
			}
		}
		go obey(w)
	}
}

func obey(w words) {
	var err error
	switch w["do"] {
	case "produce":
		err = produce(w)
	case "consume":
		err = consume(w)
	case "stop":
		err = stop(w)
	case "txstart":
		err = startTransactions(w)
	case "txsend":
		err = sendTransactions(w)
	default:
		err = fmt.Errorf("unknown command %v", w)
	}
	if err != nil {
		emit("failed", event{"id": w["id"], "error": err.Error()})
	}
}

func produce(w words) error {
	options := []producer.Option{
		producer.WithGroupName(w["group"]),
		producer.WithNsResolver(primitive.NewPassthroughResolver(names)),
		producer.WithSendMsgTimeout(15 * time.Second),
		producer.WithRetry(0),
		producer.WithInstanceName(w["id"] + "-" + strconv.Itoa(os.Getpid())),
	}
	if w["kind"] == "ordered" {
		options = append(options, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	}
	p, err := rocketmq.NewProducer(options...)
	if err != nil {
		return err
	}
	if err = p.Start(); err != nil {
		return err
	}
	if err = produceKind(p, w); err != nil {
		return err
	}
	emit("done", event{"id": w["id"], "count": number(w["count"])})
	return p.Shutdown()
}

func produceKind(p rocketmq.Producer, w words) error {
	ctx := context.Background()
	id, topic, prefix, count := w["id"], w["topic"], w["prefix"], number(w["count"])
	switch w["kind"] {
	case "sync":
		return inParallel(4, count, func(n int) error {
			sent, err := p.SendSync(ctx, message(topic, prefix, n))
			return reportSent(id, prefix, n, 0, sent, err)
		})
	case "oneway":
		for n := 0; n < count; n++ {
			if err := p.SendOneWay(ctx, message(topic, prefix, n)); err != nil {
				return err
			}
			emit("sent", event{"id": id, "prefix": prefix, "n": n, "status": "ONEWAY"})
			if n%50 == 49 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		return nil
	case "ordered":
		for n := 0; n < count; n++ {
			for key := 0; key < number(w["keys"]); key++ {
				keyed := prefix + "-k" + strconv.Itoa(key)
				sent, err := p.SendSync(ctx, message(topic, keyed, n).WithShardingKey(keyed))
				if err = reportSent(id, keyed, n, 0, sent, err); err != nil {
					return err
				}
			}
		}
		return nil
	case "batch":
		size := number(w["size"])
		for first := 0; first < count; first += size {
			var batch []*primitive.Message
			for n := first; n < first+size; n++ {
				batch = append(batch, message(topic, prefix, n))
			}
			sent, err := p.SendSync(ctx, batch...)
			for n := first; n < first+size; n++ {
				if err = reportSent(id, prefix, n, int64(n-first), sent, err); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return fmt.Errorf("unknown kind %v", w)
}

func consume(w words) error {
	id, kind, fail := w["id"], w["kind"], w["fail"]
	options := []consumer.Option{
		consumer.WithGroupName(w["group"]),
		consumer.WithNsResolver(primitive.NewPassthroughResolver(names)),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(kind == "orderly"),
		consumer.WithInstance(id + "-" + strconv.Itoa(os.Getpid())),
	}
	if kind == "broadcast" {
		options = append(options, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	if w["max"] != "" {
		options = append(options, consumer.WithMaxReconsumeTimes(int32(number(w["max"]))))
	}
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return err
	}
	err = c.Subscribe(w["topic"], consumer.MessageSelector{}, func(_ context.Context, got ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		result := consumer.ConsumeSuccess
		for _, m := range got {
			emit("got", event{"id": id, "body": string(m.Body), "tag": m.GetTags(), "keys": m.GetKeys(),
				"seq": m.GetProperty("seq"), "topic": m.Topic, "queue": m.Queue.QueueId, "offset": m.QueueOffset,
				"times": m.ReconsumeTimes, "msg": m.MsgId, "origin": m.GetProperty("RETRY_TOPIC"), "at": time.Now().UnixMilli()})
			if fail != "" && strings.Contains(string(m.Body), fail) {
				result = consumer.ConsumeRetryLater
			}
		}
		return result, nil
	})
	if err != nil {
		return err
	}
	if err = c.Start(); err != nil {
		return err
	}
	tableLock.Lock()
	consumers[id] = c
	tableLock.Unlock()
	emit("ready", event{"id": id})
	return nil
}

func stop(w words) error {
	tableLock.Lock()
	c, isConsumer := consumers[w["id"]]
	t, isTransaction := transactions[w["id"]]
	tableLock.Unlock()
	if isConsumer {
		if err := c.Shutdown(); err != nil {
			return err
		}
	}
	if isTransaction {
		if err := t.Shutdown(); err != nil {
			return err
		}
	}
	emit("stopped", event{"id": w["id"]})
	return nil
}

type listener struct{ id string }

func (l listener) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	body := string(m.Body)
	emit("half", event{"id": l.id, "body": body})
	switch {
	case strings.HasPrefix(body, "hang"):
		select {}
	case strings.HasPrefix(body, "commit"):
		return primitive.CommitMessageState
	case strings.HasPrefix(body, "rollback"):
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (l listener) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	body := string(m.Body)
	emit("check", event{"id": l.id, "body": body, "topic": m.Topic, "msg": m.MsgId, "at": time.Now().UnixMilli()})
	if strings.HasPrefix(body, "rollback") {
		return primitive.RollbackMessageState
	}
	return primitive.CommitMessageState
}

func startTransactions(w words) error {
	p, err := rocketmq.NewTransactionProducer(listener{w["id"]},
		producer.WithGroupName(w["group"]),
		producer.WithNsResolver(primitive.NewPassthroughResolver(names)),
		producer.WithSendMsgTimeout(15*time.Second),
		producer.WithRetry(0),
		producer.WithInstanceName(w["id"]+"-"+strconv.Itoa(os.Getpid())))
	if err != nil {
		return err
	}
	if err = p.Start(); err != nil {
		return err
	}
	tableLock.Lock()
	transactions[w["id"]] = p
	tableLock.Unlock()
	emit("ready", event{"id": w["id"]})
	return nil
}

func sendTransactions(w words) error {
	tableLock.Lock()
	p := transactions[w["id"]]
	tableLock.Unlock()
	id, prefix, count := w["id"], w["prefix"], number(w["count"])
	threads := 2
	if strings.HasPrefix(prefix, "hang") {
		threads = count
	}
	err := inParallel(threads, count, func(n int) error {
		sent, err := p.SendMessageInTransaction(context.Background(), message(w["topic"], prefix, n))
		if err != nil {
			return err
		}
		return reportSent(id, prefix, n, 0, sent.SendResult, nil)
	})
	if err == nil {
		emit("done", event{"id": id, "prefix": prefix, "count": count})
	}
	return err
}

func message(topic, prefix string, n int) *primitive.Message {
	m := primitive.NewMessage(topic, []byte(payload(prefix, n)))
	m.WithTag("T" + strconv.Itoa(n%3))
	m.WithKeys([]string{prefix + "-" + strconv.Itoa(n)})
	m.WithProperty("seq", strconv.Itoa(n))
	return m
}

// The harness computes the same text: see `payload` in ci/src/compat/record.rs.
func payload(prefix string, n int) string {
	length := n * 37 % 200
	if n%1000 == 7 {
		length = 6000
	}
	filler := make([]byte, length)
	for j := range filler {
		filler[j] = byte('a' + (n+j)%26)
	}
	return fmt.Sprintf("%s-%d-%s-\u00e9\u4e2d", prefix, n, filler)
}

func reportSent(id, prefix string, n int, plus int64, sent *primitive.SendResult, err error) error {
	if err != nil {
		return err
	}
	status := "SEND_OK"
	if sent.Status != primitive.SendOK {
		status = fmt.Sprintf("STATUS_%d", sent.Status)
	}
	emit("sent", event{"id": id, "prefix": prefix, "n": n, "status": status, "queue": sent.MessageQueue.QueueId,
		"offset": sent.QueueOffset + plus, "msg": sent.MsgID})
	return nil
}

func inParallel(threads, count int, job func(n int) error) error {
	var next atomic.Int64
	failures := make(chan error, threads)
	for t := 0; t < threads; t++ {
		go func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= count {
					failures <- nil
					return
				}
				if err := job(n); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	var first error
	for t := 0; t < threads; t++ {
		if err := <-failures; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func emit(name string, e event) {
	e["ev"] = name
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	outLock.Lock()
	defer outLock.Unlock()
	out.Write(line)
	out.WriteByte('\n')
	out.Flush()
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic("not a number: " + text)
	}
	return n
}
