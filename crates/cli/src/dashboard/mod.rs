//! `dropforge dashboard`: the runs of a folder in a browser, as they train.
//!
//! A small server, on the loopback address unless told otherwise: a page, its data as JSON, events when something has
//! changed, and the figures of all runs for Prometheus. Nothing is loaded from elsewhere, and nothing but the wish to
//! stop a run is written.

mod http;
mod metrics;

use crate::args::Dashboard;
use crate::output::{Outcome, line};
use crate::runs::{Found, Listed, find, list};
use crate::stop;
use dropforge::metric::Unit;
use dropforge::run::{StepReader, StepRecords, is_training};
use http::{Request, Response};
use serde_json::{Value, json};
use std::collections::hash_map::{DefaultHasher, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

const PAGE: &str = include_str!("page.html");
/// How often the folder is looked at while somebody watches.
const LOOK: Duration = Duration::from_secs(1);
/// A watcher hears at least so often, so that one who has gone is noticed.
const LOOKS_IN_SILENCE: u32 = 10;
/// More than this at once are refused.
const MOST_CONNECTIONS: usize = 64;

pub fn run(args: &Dashboard) -> Outcome {
    list(&args.folder)?;
    let listener = TcpListener::bind((args.listen, args.port)).map_err(|error| {
        format!(
            "{} port {}: cannot listen on it: {error}; choose others with --listen and --port",
            args.listen, args.port
        )
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let token = args.token.clone().or_else(|| (!args.listen.is_loopback()).then(drawn));
    if let Some(bad) =
        token.as_deref().filter(|token| token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric()))
    {
        return Err(format!("--token {bad}: letters and digits are needed").into());
    }
    let said = token.as_ref().map(|token| format!("/?token={token}")).unwrap_or_default();
    line(format_args!("http://{address}{said} shows the runs in {}; Ctrl-C ends it", args.folder.display()))?;
    let folder: Arc<Path> = args.folder.as_path().into();
    let access = Arc::new(Access { port: address.port(), token });
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().filter_map(Result::ok) {
        let (folder, open, access) = (folder.clone(), open.clone(), access.clone());
        if open.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let last = open.clone();
        let served = thread::Builder::new().spawn(move || {
            // Who has gone away needs no answer.
            let _ = serve(stream, &folder, &access);
            open.fetch_sub(1, Ordering::Relaxed);
        });
        if served.is_err() {
            last.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Who is answered.
struct Access {
    port: u16,
    /// What has to be said; without one, whoever asks for this machine by its own names is answered.
    token: Option<String>,
}

impl Access {
    /// Why a request is not answered.
    fn refuses(&self, request: &Request) -> Option<&'static str> {
        match &self.token {
            Some(_) if request.is("GET", "/health") => None,
            Some(token) => (!request.knows(token)).then_some("the token is missing or another one"),
            // A page elsewhere that has its name resolve to this machine is not answered.
            None => (!request.is_for(self.port)).then_some("only the loopback address is answered"),
        }
    }
}

/// A word that nobody guesses, from the random keys that the system gives hash tables.
fn drawn() -> String {
    (0..2).map(|_| format!("{:016x}", RandomState::new().build_hasher().finish())).collect()
}

fn serve(mut stream: TcpStream, folder: &Path, access: &Access) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let Some(request) = Request::read(&mut stream)? else {
        return Response::text(400, "this is no request that is understood here").write(&mut stream);
    };
    if let Some(why) = access.refuses(&request) {
        return Response::text(403, why).write(&mut stream);
    }
    if request.is("GET", "/api/events") {
        return events(stream, folder);
    }
    let response = answer(&request, folder);
    let response = match &access.token {
        // From here on the browser says it by itself.
        Some(token) if request.is("GET", "/") => response.with_token(token),
        _ => response,
    };
    response.write(&mut stream)
}

fn answer(request: &Request, folder: &Path) -> Response {
    match (request.method(), request.path()) {
        ("GET", "/") => Response::html(PAGE),
        ("GET", "/health") => Response::text(200, "ok\n"),
        ("GET", "/api/runs") => match runs(folder) {
            Ok(runs) => Response::json(&Value::from(runs)),
            Err(message) => Response::text(500, &message),
        },
        ("GET", "/metrics") => match recorded(folder) {
            Ok(runs) => Response::text(200, &metrics::text(&runs)),
            Err(_) => Response::text(500, "the folder of the runs cannot be read"),
        },
        ("POST", "/api/stop") => {
            // Forms of other pages cannot set a header.
            if request.header("x-dropforge").is_none() {
                return Response::text(403, "the header X-Dropforge is missing");
            }
            let name = request.query("run").unwrap_or_default();
            let found = find(folder).ok().and_then(|runs| runs.into_iter().find(|run| run.name == name));
            match found {
                Some(run) if is_training(&run.path) => match stop::ask(&run.path) {
                    Ok(()) => Response::text(200, "it stops after the step that it is in\n"),
                    Err(error) => Response::text(500, &error.to_string()),
                },
                Some(_) => Response::text(409, "the run is not being trained"),
                None => Response::text(404, "there is no such run"),
            }
        }
        ("GET" | "POST", _) => Response::text(404, "there is nothing here"),
        _ => Response::text(405, "only GET and POST are answered"),
    }
}

/// The runs with all their epochs.
fn runs(folder: &Path) -> Result<Vec<Value>, String> {
    let runs = recorded(folder).map_err(|_| "the folder of the runs cannot be read".to_string())?;
    Ok(runs.iter().map(with_epochs).collect())
}

/// A run as it was when it was looked at last.
struct Known {
    /// Sizes and times of the files that change when its epochs do.
    state: [Option<(u64, SystemTime)>; 2],
    run: Listed,
    reader: StepReader,
    records: StepRecords,
}

/// The files that tell by their size and time whether a run has other epochs or settings than before.
const TELLING: [&str; 2] = ["config.toml", "metrics.csv"];

/// The runs of a folder with what happened within their epochs. What has not changed is not read again, and of what
/// grows only what was added.
fn recorded(folder: &Path) -> Outcome<Vec<Listed>> {
    static KNOWN: Mutex<Option<HashMap<PathBuf, Known>>> = Mutex::new(None);
    let found = find(folder)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    let there: HashSet<&Path> = found.iter().map(|found| found.path.as_path()).collect();
    known.retain(|path, _| there.contains(path.as_path()));
    // What cannot be read has been noted when the command began, or is being written.
    Ok(found.into_iter().filter_map(|found| seen(&found, known)).collect())
}

fn seen(found: &Found, known: &mut HashMap<PathBuf, Known>) -> Option<Listed> {
    let state = TELLING.map(|name| {
        let found = std::fs::metadata(found.path.join(name)).ok()?;
        Some((found.len(), found.modified().ok()?))
    });
    let before = known.remove(&found.path);
    let mut now = match before {
        Some(before) if before.state == state => before,
        before => {
            let run = Listed { name: found.name.clone(), ..Listed::read(&found.path).ok()? };
            let (reader, records) = before.map_or_else(
                || (StepReader::new(&found.path), StepRecords::default()),
                |before| (before.reader, before.records),
            );
            Known { state, run, reader, records }
        }
    };
    // A file that is damaged is no reason to show nothing of the run.
    match now.reader.read() {
        Ok(false) => {}
        Ok(true) => now.records = thinned(now.reader.records()),
        Err(_) => now.records = StepRecords::default(),
    }
    now.run.training = is_training(&found.path);
    let run = now.run.clone().with_records(now.records.clone());
    known.insert(found.path.clone(), now);
    Some(run)
}

/// As many points as a chart shows; the last one stays.
fn thinned(mut records: StepRecords) -> StepRecords {
    const MOST: usize = 600;
    let every = records.points.len().div_ceil(MOST).max(1);
    let last = records.points.len().wrapping_sub(1);
    let mut index = 0;
    records.points.retain(|_| {
        index += 1;
        last.wrapping_sub(index - 1).is_multiple_of(every)
    });
    records
}

/// Where a batch lies on an axis of epochs. Of an epoch of unknown length only its place in order is known.
fn place(epoch: u64, batch: usize, batches: usize) -> f64 {
    let part = if batches > 0 { batch as f64 / batches as f64 } else { 1.0 - 1.0 / (1.0 + batch as f64) };
    epoch.saturating_sub(1) as f64 + part.min(1.0)
}

/// What happened within epochs: points with `epoch` as a number with a fraction, validations, and what stood out.
fn within(records: &StepRecords) -> (Value, Value) {
    let points = records.points.iter().map(|point| {
        json!({
            "epoch": place(point.epoch, point.batch, point.batches), "step": point.step, "train_loss": point.loss,
            "lr": point.lr, "samples_per_s": point.samples_per_s, "waiting": point.waiting,
        })
    });
    let validations = records.validations.iter().filter(|one| !one.ends_epoch).map(|one| {
        let mut figures = serde_json::Map::new();
        let shown = one.measured.metrics.iter().filter(|value| value.unit != Unit::Detail);
        figures.extend(shown.map(|value| (format!("val_{}", value.name), json!(value.value))));
        figures.insert("val_loss".into(), json!(one.measured.loss));
        figures.insert("epoch".into(), json!(place(one.epoch, one.batch, one.batches)));
        figures.insert("step".into(), json!(one.step));
        Value::Object(figures)
    });
    let marks = records.marks.iter().map(|mark| {
        json!({ "epoch": mark.epoch, "step": mark.step, "figure": mark.figure, "text": mark.text, "count": mark.count })
    });
    (points.chain(validations).collect(), marks.collect())
}

fn with_epochs(run: &Listed) -> Value {
    let mut value = run.json();
    let epochs = run.epochs.iter().map(|report| {
        // One of many numbers is no curve.
        let is_curve = |name: &String| report.value(name).is_none_or(|value| value.unit != Unit::Detail);
        let figures = report.names().into_iter().filter(is_curve).chain(["lr".to_string()]);
        let mut figures: serde_json::Map<String, Value> =
            figures.filter_map(|name| Some((name.clone(), json!(report.get(&name)?)))).collect();
        figures.insert("epoch".into(), json!(report.epoch));
        figures.insert("samples_per_s".into(), json!(report.samples_per_s));
        Value::Object(figures)
    });
    value["history"] = epochs.collect();
    // Nor is it something to compare runs by.
    if let (Some(last), Some(report)) = (value["last"].as_object_mut(), run.epochs.last()) {
        last.retain(|name, _| report.value(name).is_none_or(|value| value.unit != Unit::Detail));
    }
    (value["within"], value["marks"]) = within(&run.records);
    value
}

/// Says whenever something has changed; the page then asks for it.
fn events(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
    )?;
    let (mut known, mut silent) = (None, 0);
    loop {
        let now = runs(folder).ok().map(|runs| {
            let mut hasher = DefaultHasher::new();
            Value::from(runs).to_string().hash(&mut hasher);
            hasher.finish()
        });
        if now != known {
            known = now;
            silent = 0;
            stream.write_all(b"data: changed\n\n")?;
        } else if silent == LOOKS_IN_SILENCE {
            silent = 0;
            stream.write_all(b": still here\n\n")?;
        }
        silent += 1;
        stream.flush()?;
        thread::sleep(LOOK);
    }
}
