//! Connection ids: a client cannot use another's as its name, and the session id of a 2.x client
//! stays secret.

use serde_json::{Value, json};

use crate::support::engine::{Engine, Transport};
use crate::support::{Client, TestServer};

const FORMER: [(Transport, u8); 2] = [(Transport::Polling, 3), (Transport::WebSocket, 3)];

/// The arguments of the next event of a name.
async fn event(engine: &mut Engine, name: &str) -> Value {
    let packet = engine.expect_event(&format!("[\"{name}\"")).await.expect("the event is received");
    let start = packet.find(&format!("[\"{name}\"")).expect("it is an event");
    let mut values = serde_json::Deserializer::from_str(&packet[start..]).into_iter::<Value>();
    values.next().expect("an array").expect("it is JSON")
}

/// The argument of the next event of a name.
async fn wait_for(client: &mut Client, name: &str) -> Value {
    loop {
        let event = client.next().await;
        if event[0] == name {
            return event[1].clone();
        }
    }
}

#[tokio::test]
async fn the_session_id_of_a_2_x_client_never_reaches_another_client() {
    for transport in FORMER {
        let server = TestServer::start();
        let mut owner = Engine::connect(server.address(), transport).await;
        let sid = owner.sid.clone();
        assert!(owner.send(format!(r#"42["join-room","r","{sid}"]"#)).await);
        let own = event(&mut owner, "room-joined").await[1].clone();
        let connection = own["socketId"].as_str().unwrap().to_owned();
        assert_eq!(own["userId"], connection.as_str(), "a session id is not a user id");

        let mut other = Client::joined(&server, "r", "ann").await;
        let forms = [sid.clone(), format!("/chat#{sid}"), format!("{sid}.node-1")];
        for form in &forms {
            let body = json!({ "offer": { "deep": [{ "by": form }] }, "from": form, "sender": form, "roomId": "r" });
            assert!(owner.send(format!(r#"42["offer",{body}]"#)).await);
            let observed = wait_for(&mut other, "offer").await;
            assert_eq!(
                (&observed["sender"], &observed["from"]),
                (&json!(connection), &json!(connection))
            );
            assert_eq!(observed["offer"]["deep"][0]["by"], connection.as_str());
            assert!(!observed.to_string().contains(&sid), "{observed}");
        }
        let message = json!({ "offer": format!("I am {sid}"), (sid.as_str()): 1 });
        assert!(owner.send(format!(r#"42["offer",{message}]"#)).await);
        let observed = wait_for(&mut other, "offer").await;
        assert!(!observed.to_string().contains(&sid), "{observed}");
        // Peers that join later get the metadata.
        assert!(owner.send(format!(r#"42["join-room",{{"roomId":"s","name":"{sid}"}}]"#)).await);
        let list = event(&mut owner, "room-joined").await;
        assert_eq!(list[1]["roomId"], "s");
        let users =
            other.ask("join-room", json!({ "roomId": "s", "userId": "ann" })).await["users"]
                .clone();
        assert!(
            users.to_string().contains(&connection) && !users.to_string().contains(&sid),
            "{users}"
        );
        other.close().await;
        owner.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn connection_id_of_another_is_refused_as_user_id() {
    let server = TestServer::start();
    let mut bob = Client::joined(&server, "r", "bob").await;
    let mut ann = Client::joined(&server, "r", "ann").await;
    let mut mallory = Client::connect(&server).await;
    for room in ["r", "another"] {
        let answer = mallory.ask("join-room", json!({ "roomId": room, "userId": bob.id })).await;
        assert_eq!(
            (&answer["ok"], &answer["code"]),
            (&json!(false), &json!("FORBIDDEN")),
            "{answer}"
        );
    }
    let own = mallory.id.clone();
    assert_eq!(mallory.ask("join-room", json!({ "roomId": "r", "userId": own })).await["ok"], true);
    for key in ["targetSocketId", "to"] {
        let mut offer = json!({ "offer": "for bob" });
        offer[key] = json!(bob.id);
        assert_eq!(ann.ask("offer", offer).await["ok"], true);
        let observed = wait_for(&mut bob, "offer").await;
        assert_eq!((&observed["offer"], &observed["from"]), (&json!("for bob"), &json!(ann.id)));
    }
    let answer = ann.ask("offer", json!({ "targetSocketId": "bob", "offer": 1 })).await;
    assert_eq!(answer["code"], "TARGET_NOT_FOUND", "a peer id is not a connection id");
    for client in [ann, bob, mallory] {
        client.close().await;
    }
    server.finish().await;
}
