//! The dialect against values printed by RocketMQ 5.5.0, and what clients send instead.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Queue {
    broker_name: String,
    queue_id: i32,
    topic: String,
}

#[test]
fn doubles_look_like_those_of_java() {
    let doubles = [1.5, 0.1, 1e7, 1e-5, 123456789.125, 1e21, f64::NAN, 0.0, 2.0, 9999999.0, 0.001, -3.25];
    let written = to_string(&doubles[..], Keys::Bare);
    assert_eq!(written, "[1.5,0.1,1.0E7,1.0E-5,1.23456789125E8,1.0E21,null,0.0,2.0,9999999.0,0.001,-3.25]");
}

#[test]
fn keys_that_are_no_text_stand_as_they_are_or_as_text() {
    let queue = Queue { broker_name: "b".into(), queue_id: 0, topic: "T".into() };
    let table = BTreeMap::from([(queue, BTreeMap::from([(0, "x"), (1, "y")]))]);
    let bare = to_string(&table, Keys::Bare);
    assert_eq!(bare, r#"{{"brokerName":"b","queueId":0,"topic":"T"}:{0:"x",1:"y"}}"#);
    let quoted = to_string(&table, Keys::Quoted);
    assert_eq!(quoted, r#"{"{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}":{"0":"x","1":"y"}}"#);
    for form in [bare, quoted] {
        let read: BTreeMap<Queue, BTreeMap<i32, String>> = from_slice(form.as_bytes()).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read.values().next().unwrap().get(&1).map(String::as_str), Some("y"));
    }
}

#[test]
fn absent_members_are_left_out() {
    #[derive(Serialize)]
    struct Body {
        a: Option<i32>,
        b: Option<i32>,
        c: BTreeMap<i32, Option<bool>>,
    }
    let body = Body { a: None, b: Some(1), c: BTreeMap::from([(1, None), (2, Some(true))]) };
    assert_eq!(to_string(&body, Keys::Bare), r#"{"b":1,"c":{2:true}}"#);
}

#[test]
fn strings_and_numbers_stand_for_each_other() {
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Body {
        a: i64,
        b: String,
        c: bool,
        d: f64,
        e: Option<i32>,
        f: Vec<i32>,
        g: i32,
    }
    let read: Body =
        from_slice(b"{\"a\":\"7\",\"b\":8,\"c\":\"1\",\"d\":\"0.5\",\"e\":null,\"f\":[\"1\",2],\"x\":{}}\n")
            .unwrap();
    assert_eq!(read, Body { a: 7, b: "8".into(), c: true, d: 0.5, e: None, f: vec![1, 2], g: 0 });
}

#[test]
fn references_are_resolved_and_cannot_grow() {
    let read = parse(br#"{"a":{"x":[1,{"y":2}]},"b":{"$ref":"$.a.x[1]"},"c":{"$ref":".."}}"#).unwrap();
    assert_eq!(read, json!({"a": {"x": [1, {"y": 2}]}, "b": {"y": 2}, "c": null}));
    assert_eq!(parse(br#"{"a":{"$ref":"$"}}"#).unwrap(), json!({"a": null}));
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = "[".repeat(100_000);
    assert_eq!(parse(deep.as_bytes()), Err(JsonError::Depth { depth_max: 64 }));
    let keys = "{".repeat(100_000);
    assert_eq!(parse(keys.as_bytes()), Err(JsonError::Depth { depth_max: 64 }));
    let wide = format!("[{}]", "0,".repeat(4_000_001));
    assert_eq!(parse(wide.as_bytes()), Err(JsonError::Nodes { nodes_max: 4_000_000 }));
}

#[test]
fn errors_say_where() {
    assert_eq!(parse(b"{\"a\":}").unwrap_err().to_string(), "JSON: expected a value at byte 5");
    assert_eq!(parse(b"{} x").unwrap_err().to_string(), "JSON: expected the end of the text at byte 3");
    assert_eq!(parse(b"").unwrap_err().to_string(), "JSON: expected a value at byte 0");
    let error = from_slice::<Vec<i32>>(b"[{}]").unwrap_err();
    assert_eq!(error.to_string(), "JSON: invalid type: map, expected i32");
}

fn trees() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Bool(true)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(?s).{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[^$].{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(tree in trees()) {
        prop_assert_eq!(parse(&to_vec(&tree, Keys::Bare)), Ok(tree.clone()));
        prop_assert_eq!(parse(tree.to_string().as_bytes()), Ok(tree));
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, text in "[\\[\\]{}:,\"'\\\\u0-9a$ref. ]{0,60}") {
        let _ = parse(&bytes);
        let _ = parse(text.as_bytes());
    }
}
