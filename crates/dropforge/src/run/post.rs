//! Telling another program how training goes: JSON to an address.

use crate::settings::{Described, Range, Table};
use crate::train::{Callback, Control, EpochReport};
use crate::{Error, ErrorKind, Result, described};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many may wait; more than that are left out, so that training never waits.
const WAITING: usize = 64;

/// The callback of [`post`].
pub struct Post {
    url: String,
    worker: Option<Worker>,
    /// The name of the folder that is saved to.
    run: Option<String>,
}

/// Posts a JSON object to an address (`http://..`) when training starts, after each epoch, when it fails and when it
/// ends: `event`, `run` (the name of the folder that is saved to, and `null` without one), `epoch`, `step`, and the
/// figures of the epoch by their names. That training starts must arrive, so that a wrong address is noticed at once;
/// what comes later is sent beside the training, and lost where nobody listens any more.
///
/// This library brings no TLS. For an address with `https`, post to a relay on this machine that passes everything on to
/// it: a proxy like nginx or Caddy (`caddy reverse-proxy --from http://127.0.0.1:8080 --to https://HOST
/// --change-host-header`).
///
/// ```no_run
/// use dropforge::prelude::*;
/// use dropforge::run::post;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let mut trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1)).compile(&train)?;
/// trainer.fit(&train).validate(&test).epochs(3).callback(post("http://127.0.0.1:8080/training")).run()?;
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn post(url: impl Into<String>) -> Post {
    Post { url: url.into(), worker: None, run: None }
}

described! {
    Post = "post", "posts a JSON object to an address when training starts, after each epoch and at the end", { worker: None, run: None };
    url: String, None, Range::ANY, "the address, http://HOST[:PORT]/PATH";
}

/// A thread that sends.
struct Worker {
    messages: SyncSender<Value>,
    /// Hears when the last one is sent.
    done: Receiver<()>,
}

impl Post {
    fn named(&self, mut message: Value) -> Value {
        message["run"] = self.run.clone().into();
        message
    }

    fn send(&self, message: Value) {
        let message = self.named(message);
        if let Some(worker) = &self.worker {
            // A full queue means that nobody listens.
            let _ = worker.messages.try_send(message);
        }
    }
}

fn send(url: &str, message: &Value) -> Result<()> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().proxy(None).timeout_global(Some(PATIENCE)).build().into();
    let sent = agent.post(url).header("Content-Type", "application/json").send(message.to_string());
    sent.map(drop).map_err(|error| {
        Error::of(ErrorKind::Other, format!("post: {url}: nobody takes what is sent: {error}"))
    })
}

impl Callback for Post {
    fn name(&self) -> String {
        format!("post.{}", self.url)
    }

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        let (url, wrong) = (&self.url, |message: String| Err(Error::of(ErrorKind::Setting, message)));
        if let Some(place) = url.strip_prefix("https://") {
            let (host, path) = place.split_once('/').unwrap_or((place, ""));
            return wrong(format!(
                "post: {url}: there is no TLS here; have a relay on this machine pass it on, such as `caddy reverse-proxy --from \
                 http://127.0.0.1:8080 --to https://{host} --change-host-header`, and post to http://127.0.0.1:8080/{path}"
            ));
        }
        if !url.starts_with("http://") {
            return wrong(format!(
                "post: {url}: an address such as http://127.0.0.1:8080/training is needed"
            ));
        }
        let progress = control.progress();
        let start = json!({ "event": "start", "epoch": progress.epoch, "step": progress.step });
        send(&self.url, &self.named(start))?;
        let ((messages, waiting), (told, done)) = (sync_channel::<Value>(WAITING), sync_channel(1));
        let url = self.url.clone();
        let run = move || {
            for message in waiting {
                let _ = send(&url, &message);
            }
            let _ = told.send(());
        };
        thread::Builder::new()
            .name("post".into())
            .spawn(run)
            .map_err(|error| Error::of(ErrorKind::Other, format!("post: cannot start a thread: {error}")))?;
        self.worker = Some(Worker { messages, done });
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, _: &mut Control<'_>) -> Result<()> {
        let names = report.names().into_iter().chain(["lr".to_string()]);
        let mut message: Map<String, Value> =
            names.filter_map(|name| Some((name.clone(), json!(report.get(&name)?)))).collect();
        message.insert("event".into(), "epoch".into());
        message.insert("epoch".into(), report.epoch.into());
        message.insert("step".into(), report.step.into());
        message.insert("seconds".into(), json!(report.seconds));
        self.send(Value::Object(message));
        Ok(())
    }

    fn on_error(&mut self, error: &Error) {
        self.send(json!({ "event": "error", "message": error.to_string() }));
        self.finish();
    }

    fn on_fit_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let step = control.progress().step;
        self.send(json!({ "event": "end", "epoch": control.history().len(), "step": step }));
        self.finish();
        Ok(())
    }

    fn in_run(&mut self, folder: &Path) {
        let whole = std::path::absolute(folder);
        let name = whole.as_deref().unwrap_or(folder).file_name();
        self.run = name.map(|name| name.to_string_lossy().into());
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

impl Post {
    /// Waits a little for what is still to be sent.
    fn finish(&mut self) {
        let Some(Worker { messages, done }) = self.worker.take() else { return };
        drop(messages);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match done.recv_timeout(PATIENCE.saturating_sub(started.elapsed())) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn events_arrive_and_a_wrong_address_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/here", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut bodies = Vec::new();
            while bodies.len() < 4 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                let mut part = [0; 4096];
                loop {
                    let read = stream.read(&mut part).unwrap();
                    text += &String::from_utf8_lossy(&part[..read]);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.to_lowercase();
                    let length =
                        length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                    if body.len() == length.unwrap_or(0) {
                        assert!(head.starts_with("POST /here "), "{head}");
                        bodies.push(serde_json::from_str::<Value>(body).unwrap());
                        break;
                    }
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
            bodies
        });
        let (train, test) = datasets::digits(100, 50, 1);
        let trainer =
            || Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1)).compile(&train);
        let run = std::env::temp_dir().join(format!("dropforge-post-{}", std::process::id()));
        let mut posting = trainer().unwrap();
        posting.fit(&train).validate(&test).epochs(2).callback(post(url)).save(&run).run().unwrap();
        drop(posting);
        std::fs::remove_dir_all(&run).unwrap();
        let bodies = server.join().unwrap();
        let events: Vec<&str> = bodies.iter().map(|body| body["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["start", "epoch", "epoch", "end"]);
        let name = run.file_name().unwrap().to_str().unwrap();
        assert!(bodies.iter().all(|body| body["run"] == name), "{bodies:?}");
        assert!(bodies[2]["val_accuracy"].is_number() && bodies[2]["epoch"] == 2, "{}", bodies[2]);
        for (wrong, part) in [
            (
                "https://example.org/hook",
                "--to https://example.org --change-host-header`, and post to http://127.0.0.1:8080/hook",
            ),
            ("example.org", "an address such as http://"),
            ("http://127.0.0.1:1/", "nobody takes"),
        ] {
            let failed = trainer().unwrap().fit(&train).callback(post(wrong)).run();
            assert!(failed.unwrap_err().to_string().contains(part), "{wrong}");
        }
    }
}
