//! Which clients are admitted.

use serde_json::json;

use super::{assert_admitted, assert_admitted_and_close, assert_refused, close, issuer, server};
use crate::support::TestServer;
use crate::support::protocol_peer::Protocol;
use crate::support::tokens::{Issuer, SECRET, seconds_from_now, unsigned};

/// Returns a time in an hour.
fn later() -> f64 {
    seconds_from_now(3600.0)
}

async fn assert_all_refused<const N: usize>(protocol: Protocol, bad: [(&str, String); N]) {
    let server = server();
    for (what, token) in &bad {
        assert_refused(&server, protocol, what, Some(token)).await;
    }
    server.finish().await;
}

pub(super) async fn valid_token_is_required(protocol: Protocol) {
    let server = server();
    assert_admitted_and_close(
        &server,
        protocol,
        "a valid token",
        &issuer().token("ann", &json!({})),
    )
    .await;
    assert_refused(&server, protocol, "none", None).await;
    server.finish().await;
}

pub(super) async fn forged_token_is_refused(protocol: Protocol) {
    let claims = json!({ "sub": "ann", "exp": later() });
    let good = issuer().sign(&claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let other = issuer().sign(&json!({ "sub": "bob", "exp": later() }));
    let (changed, _) = other.rsplit_once('.').unwrap();
    let bad = [
        (
            "signed with another secret",
            Issuer::secret("another secret of the same length!!").sign(&claims),
        ),
        ("changed since", format!("{changed}.{signature}")),
        ("without its signature", format!("{head}.")),
        ("cut short", good[..good.len() - 1].to_owned()),
        ("no token at all", "x".to_owned()),
        ("dots", "..".to_owned()),
    ];
    assert_all_refused(protocol, bad).await;
}

pub(super) async fn token_without_an_algorithm_is_refused(protocol: Protocol) {
    let claims = json!({ "sub": "ann", "exp": later() });
    let good = issuer().sign(&claims);
    let (_, signature) = good.rsplit_once('.').unwrap();
    let none = unsigned(&json!({ "alg": "none", "typ": "JWT" }), &claims);
    let bad = [
        ("of no algorithm", none.clone()),
        ("of no algorithm, with the signature of a good one", format!("{none}{signature}")),
        ("of no algorithm, oddly spelt", unsigned(&json!({ "alg": "nOnE" }), &claims)),
        ("that names none", unsigned(&json!({ "typ": "JWT" }), &claims)),
    ];
    assert_all_refused(protocol, bad).await;
}

pub(super) async fn key_determines_the_signature_algorithm(protocol: Protocol) {
    let issuers = [Issuer::secret(SECRET), Issuer::rsa(), Issuer::ec(), Issuer::ed()];
    let claims = json!({ "sub": "ann", "exp": later() });
    for issuer in &issuers {
        let server = TestServer::with(&[&issuer.flag()]);
        assert_admitted_and_close(
            &server,
            protocol,
            &format!("{:?}", issuer.algorithm),
            &issuer.sign(&claims),
        )
        .await;
        for other in issuers.iter().filter(|other| other.algorithm != issuer.algorithm) {
            assert_refused(&server, protocol, "another kind of key", Some(&other.sign(&claims)))
                .await;
        }
        let good = issuer.sign(&claims);
        let (_, signature) = good.rsplit_once('.').unwrap();
        let renamed = format!("{}{signature}", unsigned(&json!({ "alg": "HS384" }), &claims));
        assert_refused(&server, protocol, "claims another algorithm", Some(&renamed)).await;
        if issuer.public != SECRET {
            // The public key is not secret: if it were accepted as an HMAC key, anyone could sign
            // with it.
            let trimmed = issuer.public.trim();
            for secret in [issuer.public.as_str(), trimmed, trimmed.lines().nth(1).unwrap()] {
                assert_refused(
                    &server,
                    protocol,
                    "HS256 by the public key",
                    Some(&Issuer::secret(secret).sign(&claims)),
                )
                .await;
            }
        }
        server.finish().await;
    }
}

pub(super) async fn expired_token_is_refused(protocol: Protocol) {
    let token = |exp: f64| issuer().sign(&json!({ "sub": "ann", "exp": exp }));
    let bad = [
        ("just over the leeway", token(seconds_from_now(-30.5))),
        ("of yesterday", token(seconds_from_now(-86_400.0))),
        ("of the beginning of time", token(0.0)),
        ("of before all time", token(-1.0)),
    ];
    assert_all_refused(protocol, bad).await;
}

pub(super) async fn token_before_its_nbf_is_refused(protocol: Protocol) {
    let token = |begins: &str, at: f64| issuer().token("ann", &json!({ begins: at }));
    let bad = [
        ("not yet good", token("nbf", seconds_from_now(60.0))),
        ("just not yet good", token("nbf", seconds_from_now(40.0))),
        ("from the future", token("iat", seconds_from_now(60.0))),
    ];
    assert_all_refused(protocol, bad).await;
}

pub(super) async fn token_without_sub_or_exp_is_refused(protocol: Protocol) {
    let token = |claims| issuer().sign(&claims);
    let bad = [
        ("without sub", token(json!({ "exp": later() }))),
        ("without exp", token(json!({ "sub": "ann" }))),
        ("without either", token(json!({}))),
        ("with a sub that is no text", token(json!({ "sub": 7, "exp": later() }))),
        ("with a sub that is no id", token(json!({ "sub": " ", "exp": later() }))),
        ("with an exp that is no number", token(json!({ "sub": "ann", "exp": "tomorrow" }))),
        ("with an exp of nothing", token(json!({ "sub": "ann", "exp": null }))),
    ];
    assert_all_refused(protocol, bad).await;
}

pub(super) async fn token_with_invalid_claims_is_refused(protocol: Protocol) {
    let token = |more| issuer().token("ann", &more);
    let critical = json!({ "alg": "HS256", "crit": ["exp"] });
    let bad = [
        ("with rooms that are none", token(json!({ "rooms": [true] }))),
        ("with metadata that is no object", token(json!({ "metadata": "x" }))),
        ("with a capacity of nothing", token(json!({ "capacity": 0 }))),
        ("with an extension that is critical", {
            issuer().sign_with(&critical, &json!({ "sub": "ann", "exp": later() }))
        }),
    ];
    assert_all_refused(protocol, bad).await;
}

pub(super) async fn token_of_another_issuer_or_audience_is_refused(protocol: Protocol) {
    let issuer = issuer();
    let (own, other) = ("https://id.example.com", "https://id.example.org");
    let server = TestServer::with(&[
        &issuer.flag(),
        &format!("--jwt-issuer={own}"),
        "--jwt-audience=calls,chats",
    ]);
    for (what, claims, is_one_of_ours) in [
        ("one of ours", json!({ "iss": own, "aud": ["mail", "chats"] }), true),
        ("another issuer", json!({ "iss": other, "aud": "calls" }), false),
        ("no issuer", json!({ "aud": "calls" }), false),
        ("another audience", json!({ "iss": own, "aud": "mail" }), false),
        ("no audience", json!({ "iss": own }), false),
    ] {
        let token = issuer.token("ann", &claims);
        if is_one_of_ours {
            assert_admitted_and_close(&server, protocol, what, &token).await;
        } else {
            assert_refused(&server, protocol, what, Some(&token)).await;
        }
    }
    server.finish().await;
    assert_all_refused(
        protocol,
        [(
            "for an audience that is not configured",
            issuer.token("ann", &json!({ "aud": "calls" })),
        )],
    )
    .await;
}

pub(super) async fn any_token_is_accepted_if_none_is_required(protocol: Protocol) {
    let server = TestServer::start();
    let whatever =
        ["whatever".to_owned(), Issuer::secret("of others").token("ann", &json!({ "exp": 1 }))];
    for token in whatever {
        close(assert_admitted(&server, protocol, "any", &token).await).await;
    }
    server.finish().await;
}
