"""Drives the official C++ client, as the PyPI wheel `rocketmq` packs it, for the compatibility gate.

Commands arrive on standard input, one a line, as `name=value` words; events leave on standard output, one JSON object a line.
The driver judges nothing: counts, contents and order are judged by the harness. The end of standard input ends it.
The commands and events are described in ci/compat/README.md.

The wheel binds no transactions, but its library holds the C++ class `rocketmq::TransactionMQProducer` and exports all of its
methods except the constructor, which is inline. `TransactionProducer` below lays that constructor's fields out by hand and
then calls the library's own methods, so what runs is the official client's code.
"""

import ctypes
import json
import os
import sys
import threading
import time
from ctypes import CFUNCTYPE, c_char_p, c_int, c_long, c_size_t, c_void_p

from rocketmq.client import Message, Producer, PushConsumer, RecvMessage
from rocketmq.ffi import MessageModel, dll

NAMES = sys.argv[1]
OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # the library prints banners on standard output
LOCK = threading.Lock()
CONSUMERS = {}
TRANSACTIONS = {}
HUNG = threading.Event()  # a local transaction that never ends has begun
KEEP = []  # ctypes callbacks and buffers that C++ holds on to


def emit(event, **fields):
    fields["ev"] = event
    line = json.dumps({k: v for k, v in fields.items() if v is not None}, ensure_ascii=False)
    with LOCK:
        OUT.write(line + "\n")
        OUT.flush()


def payload(prefix, n):
    """The harness computes the same text: see `payload` in ci/src/compat/record.rs."""
    length = 6000 if n % 1000 == 7 else n * 37 % 200
    return "%s-%d-%s-\u00e9\u4e2d" % (prefix, n, "".join(chr(97 + (n + j) % 26) for j in range(length)))


def message(topic, prefix, n):
    made = Message(topic)
    made.set_tags("T%d" % (n % 3))
    made.set_keys("%s-%d" % (prefix, n))
    made.set_property("seq", str(n))
    made.set_body(payload(prefix, n))
    return made


def report_sent(ident, prefix, n, sent):
    status = "SEND_OK" if sent.status == 0 else sent.status.name
    emit("sent", id=ident, prefix=prefix, n=n, status=status, offset=sent.offset, msg=sent.msg_id)


def produce(words):
    ident, topic, prefix, count = words["id"], words["topic"], words["prefix"], int(words["count"])
    producer = Producer(words["group"], timeout=15000)
    producer.set_namesrv_addr(NAMES)
    # Producers of one instance name share a client, and the first of them to shut down takes it from the others.
    dll.SetProducerInstanceName(producer._handle, ("%d-%s" % (os.getpid(), ident)).encode())
    producer.start()
    kind = words["kind"]
    if kind == "sync":
        # From one thread, here and for transactions: the library gives up on sends that wait for another thread's turn at
        # its connection table, or that find another looking up the same topic's first route.
        for n in range(count):
            report_sent(ident, prefix, n, producer.send_sync(message(topic, prefix, n)))
    elif kind == "oneway":
        for n in range(count):
            producer.send_oneway(message(topic, prefix, n))
            emit("sent", id=ident, prefix=prefix, n=n, status="ONEWAY")
            if n % 50 == 49:
                time.sleep(0.005)
        time.sleep(1)
    elif kind == "ordered":
        for n in range(count):
            for key in range(int(words["keys"])):
                keyed = "%s-k%d" % (prefix, key)
                report_sent(ident, keyed, n, producer.send_orderly(message(topic, keyed, n), key, retry_times=0))
    elif kind == "batch":
        size = int(words["size"])
        for first in range(0, count, size):
            sent = producer.send_batch([message(topic, prefix, n) for n in range(first, first + size)])
            status = "SEND_OK" if sent.status == 0 else sent.status.name
            for n in range(first, first + size):
                emit("sent", id=ident, prefix=prefix, n=n, status=status, msg=sent.msg_id.split(",")[0])
    else:
        raise ValueError("unknown kind " + kind)
    producer.shutdown()
    emit("done", id=ident, count=count)


def text(value):
    return value.decode("utf-8", errors="replace") if value else None


def consume(words):
    ident, kind, fail = words["id"], words["kind"], words.get("fail")
    model = MessageModel.BROADCASTING if kind == "broadcast" else MessageModel.CLUSTERING
    consumer = PushConsumer(words["group"], orderly=kind == "orderly", message_model=model)
    consumer.set_namesrv_addr(NAMES)
    consumer.set_instance_name("%d-%s" % (os.getpid(), ident))
    consumer.set_thread_count(2)

    def got(_, handle):
        m = RecvMessage(handle)
        body = text(m.body)
        emit("got", id=ident, body=body, tag=text(m.tags), keys=text(m.keys), seq=text(m.get_property("seq")), topic=m.topic,
             queue=m.queue_id, offset=m.queue_offset, times=m.reconsume_times, msg=m.id,
             origin=text(m.get_property("RETRY_TOPIC")), at=int(time.time() * 1000))
        return 1 if fail and fail in body else 0

    dll.Subscribe(consumer._handle, words["topic"].encode(), b"*")
    consumer._register_callback(got)
    CONSUMERS[ident] = consumer
    consumer.start()
    emit("ready", id=ident)


def stop(words):
    ident = words["id"]
    for table in (CONSUMERS, TRANSACTIONS):
        if ident in table:
            client = table.pop(ident)
            client.shutdown()
            KEEP.append(client)
    emit("stopped", id=ident)


class TransactionProducer:
    """The library's transaction producer.

    Object layout (libstdc++ of GCC 4, 64 bit):

        0x000  DefaultMQProducer, built by its own exported constructor
        0x090  shared_ptr<TransactionListener>: pointer, control block (none: we own it)
        0x0a0  int: threads of the pool
        0x0a8  boost::thread_group: empty list (two pointers to itself), then a shared mutex, all zero when free
        0x1f0  boost::asio::io_service, built by its own exported constructor
        0x200  io_service::work: pointer to the service's implementation, whose work count at 0xb8 it holds
    """

    COMMIT, ROLLBACK, UNKNOWN = 0, 1, 2

    def __init__(self, group, execute, check):
        self.object = ctypes.create_string_buffer(0x400)
        self.address = ctypes.addressof(self.object)
        name = old_string(group)
        lib("_ZN8rocketmq17DefaultMQProducerC1ERKSs", None, c_void_p, c_void_p)(self.address, ctypes.addressof(name))
        self.put(0x000, c_void_p.in_dll(dll, "_ZTVN8rocketmq21TransactionMQProducerE"), 0x10)
        self.listener = self.make_listener(execute, check)
        self.word(0x090).value = ctypes.addressof(self.listener)
        ctypes.c_int.from_address(self.address + 0x0A0).value = 1
        self.word(0x0A8).value = self.address + 0x0A8
        self.word(0x0B0).value = self.address + 0x0A8
        lib("_ZN5boost4asio10io_serviceC1Ev", None, c_void_p)(self.address + 0x1F0)
        implementation = self.word(0x1F8).value
        self.word(0x200).value = implementation
        c_long.from_address(implementation + 0xB8).value += 1
        dll.SetProducerNameServerAddress(self.address, NAMES.encode())
        dll.SetProducerSendMsgTimeout(self.address, 15000)
        dll.SetProducerInstanceName(self.address, ("%d-%s" % (os.getpid(), group)).encode())
        self.transact = lib("_ZN8rocketmq21TransactionMQProducer24sendMessageInTransactionERNS_9MQMessageEPv",
                            c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)

    def word(self, at):
        return c_size_t.from_address(self.address + at)

    def put(self, at, symbol, plus):
        self.word(at).value = ctypes.addressof(symbol) + plus

    def make_listener(self, execute, check):
        """A C++ object whose table holds two destructors, executeLocalTransaction and checkLocalTransaction."""
        destroy = CFUNCTYPE(None, c_void_p)(lambda _: None)
        run = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)(lambda _, handle, __: execute(RecvMessage(handle)))
        ask = CFUNCTYPE(c_int, c_void_p, c_void_p)(lambda _, handle: check(RecvMessage(handle)))
        functions = [ctypes.cast(f, c_void_p) for f in (destroy, destroy, run, ask)]
        table = (c_void_p * 4)(*functions)
        listener = (c_void_p * 1)(ctypes.addressof(table))
        KEEP.extend([destroy, run, ask, table, listener])
        return listener

    def start(self):
        lib("_ZN8rocketmq21TransactionMQProducer5startEv", None, c_void_p)(self.address)

    def send(self, made):
        result = ctypes.create_string_buffer(0x200)
        self.transact(ctypes.addressof(result), self.address, made._handle, None)
        status = c_int.from_address(ctypes.addressof(result) + 8).value
        return "SEND_OK" if status == 0 else "STATUS_%d" % status

    def shutdown(self):
        lib("_ZN8rocketmq21TransactionMQProducer8shutdownEv", None, c_void_p)(self.address)


def lib(symbol, result, *arguments):
    function = getattr(dll, symbol)
    function.restype, function.argtypes = result, list(arguments)
    return function


def old_string(value):
    """A `std::string` of the old ABI: a pointer to characters that follow {length, capacity, reference count}."""
    data = value.encode()
    block = ctypes.create_string_buffer(24 + len(data) + 1)
    start = ctypes.addressof(block)
    c_size_t.from_address(start).value = len(data)
    c_size_t.from_address(start + 8).value = len(data)
    c_int.from_address(start + 16).value = -1
    ctypes.memmove(start + 24, data, len(data))
    holder = c_void_p(start + 24)
    KEEP.extend([block, holder])
    return holder


def start_transactions(words):
    ident = words["id"]

    def execute(m):
        # The body of a long message is compressed by now, in place; its key still tells which message it is.
        key = text(m.keys)
        emit("half", id=ident, keys=key)
        if key.startswith("hang"):
            HUNG.set()
            threading.Event().wait()
        if key.startswith("commit"):
            return TransactionProducer.COMMIT
        return TransactionProducer.ROLLBACK if key.startswith("rollback") else TransactionProducer.UNKNOWN

    def check(m):
        body = text(m.body)
        emit("check", id=ident, body=body, topic=m.topic, msg=m.id, at=int(time.time() * 1000))
        return TransactionProducer.ROLLBACK if body.startswith("rollback") else TransactionProducer.COMMIT

    producer = TransactionProducer(words["group"], execute, check)
    producer.start()
    TRANSACTIONS[ident] = producer
    emit("ready", id=ident)


def send_transactions(words):
    ident, topic, prefix, count = words["id"], words["topic"], words["prefix"], int(words["count"])
    producer = TRANSACTIONS[ident]

    def one(n):
        made = message(topic, prefix, n)
        emit("sent", id=ident, prefix=prefix, n=n, status=producer.send(made))

    for n in range(count):
        if prefix.startswith("hang"):
            # It never comes back from its local transaction, so it has a thread of its own; the next starts when it is there.
            HUNG.clear()
            threading.Thread(target=one, args=(n,), daemon=True).start()
            HUNG.wait()
        else:
            one(n)
    emit("done", id=ident, prefix=prefix, count=count)


COMMANDS = {"produce": produce, "consume": consume, "stop": stop, "txstart": start_transactions, "txsend": send_transactions}


def obey(words):
    try:
        COMMANDS[words["do"]](words)
    except Exception as cause:
        emit("failed", id=words.get("id"), error=repr(cause))


def main():
    emit("up", pid=os.getpid())
    for line in sys.stdin:
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        threading.Thread(target=obey, args=(words,), daemon=True).start()
    os._exit(0)


main()
