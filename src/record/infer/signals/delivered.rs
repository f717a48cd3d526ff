//! The template of delivered signals: what recipients get of a sender's arguments.

use serde_json::Value;

use super::{Pair, message};
use crate::dialect::socketio::sender::SenderFields;
use crate::record::infer::membership::Membership;
use crate::record::infer::shape;
use crate::record::infer::template::{Context, Gap, Sample, Template, unify};
use crate::record::infer::timeline::Timeline;
use crate::record::trace::Trace;

/// Returns the template of a delivered signal, and the values that it cannot express.
pub(super) fn template(
    trace: &Trace,
    membership: &Membership,
    timeline: &Timeline,
    pairs: &[Pair],
) -> (Vec<Template>, Vec<Gap>) {
    let room = membership.room.as_str();
    let samples: Vec<Sample<'_>> = pairs
        .iter()
        .map(|(sent, received, body)| {
            let context = Context {
                membership,
                room: timeline.at(*sent).and_then(|cause| cause.room.as_deref()).unwrap_or(room),
                me: trace.entries[*received].client,
                other: Some(trace.entries[*sent].client),
                other_name: "from",
                members: None,
                body: shape::at(&message(trace, *sent).args, body),
                data: message(trace, *sent).args.first(),
            };
            (message(trace, *received).args.as_slice(), context)
        })
        .collect();
    let mut gaps = Vec::new();
    let args = unify(&samples, &mut gaps);
    if !gaps.is_empty()
        && pairs.iter().all(|(sent, received, _)| is_data(membership, trace, *sent, *received))
    {
        return (vec![Template::Variable("$data".to_owned())], Vec::new());
    }
    (args, gaps)
}

/// Returns whether a delivered object is the sender's, changed only in the sender's ids.
fn is_data(membership: &Membership, trace: &Trace, sent: usize, received: usize) -> bool {
    let [Value::Object(received)] = message(trace, received).args.as_slice() else { return false };
    let Some(Value::Object(given)) = message(trace, sent).args.first() else { return false };
    let sender = &membership.identities[trace.entries[sent].client];
    received.iter().all(|(key, value)| {
        let is_set = SenderFields::protected_names().contains(&key.as_str())
            && (sender.is_named(value) || membership.is_room(value));
        is_set || given.get(key) == Some(value)
    })
}
