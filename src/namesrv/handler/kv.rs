//! Key-value configuration: put (100), get (101), delete (102), list (219).

use crate::namesrv::answer::Answer;
use crate::namesrv::answer::Handled;
use crate::namesrv::tables::Request;
use crate::namesrv::tables::Tables;
use crate::protocol::ResponseCode;
use crate::protocol::body::Body;
use crate::protocol::body::route::KvTable;
use crate::protocol::command::kv::KvReply;
use crate::protocol::command::kv::OfKey;
use crate::protocol::command::kv::OfNamespace;
use crate::protocol::command::kv::PutKv;

pub(crate) fn put(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let PutKv { namespace, key, value } = PutKv::decode(request.header)?;
    tables.kv.put(&namespace, &key, &value);
    Ok(Answer::ok().once_saved())
}

pub(crate) fn get(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfKey { namespace, key } = OfKey::decode(request.header)?;
    let Some(value) = tables.kv.get(&namespace, &key) else {
        let remark = format!("No config item, Namespace: {namespace} Key: {key}");
        return Err(Answer::refused(ResponseCode::QueryNotFound, remark));
    };
    let reply = KvReply { value: Some(value.to_owned()) };
    Ok(Answer::ok().with_ext(|ext| reply.encode(ext)))
}

pub(crate) fn delete(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfKey { namespace, key } = OfKey::decode(request.header)?;
    tables.kv.delete(&namespace, &key);
    Ok(Answer::ok().once_saved())
}

pub(crate) fn list(tables: &mut Tables, request: &Request<'_>) -> Handled {
    let OfNamespace { namespace } = OfNamespace::decode(request.header)?;
    let Some(table) = tables.kv.namespace(&namespace) else {
        let remark = format!("No config item, Namespace: {namespace}");
        return Err(Answer::refused(ResponseCode::QueryNotFound, remark));
    };
    Ok(Answer::ok().with_body(KvTable { table: table.clone() }.encode()))
}
