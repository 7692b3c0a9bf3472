//! Trained networks from ONNX files.

use super::calls;
use super::checkpoint::save_imported;
use super::forward::{Forward, Weights};
use super::manifest::{Manifest, Training, YES, Yes};
use super::run_dir::RunDir;
use super::stored::{SIZES, Stored};
use super::{Environment, InputSpec, Trained};
use crate::step::{Choices, PREDICTION};
use crate::{Error, Result, Runtime};
use dropforge_data::INPUT;
use dropforge_ir::text::Template;
use dropforge_ir::{Array, Program, ValueType};
use dropforge_onnx::{ImportOptions, Model};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};
use std::sync::Arc;

/// Bytes that a model file has at most: the format allows no more.
const MOST_BYTES: u64 = 2 << 30;
/// Bytes of one tensor that lies in another file.
const MOST_OUTSIDE: u64 = 16 << 30;

/// How an ONNX file is read. What the file says in its metadata about classes and normalisation, as those that
/// [`Trained::save_onnx`] writes do, goes unless it is said here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxImport {
    output: Option<String>,
    extents: BTreeMap<String, usize>,
    classes: Option<Vec<String>>,
    normalisation: Option<(Vec<f32>, Vec<f32>)>,
}

impl OnnxImport {
    /// What the file says.
    pub fn new() -> OnnxImport {
        OnnxImport::default()
    }

    /// The output that is the prediction. Default: the first.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> OnnxImport {
        self.output = Some(name.into());
        self
    }

    /// The extent of an axis that the file names, such as a length of sequences. Default: 1. The first axis is the
    /// batch, which stays open.
    #[must_use]
    pub fn extent(mut self, name: impl Into<String>, extent: usize) -> OnnxImport {
        self.extents.insert(name.into(), extent);
        self
    }

    /// Names of the classes, in the order of the outputs; none for a regression.
    #[must_use]
    pub fn classes(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> OnnxImport {
        self.classes = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What is taken off inputs, and what they are divided by then: for each channel, or one for all.
    #[must_use]
    pub fn normalisation(mut self, mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>) -> OnnxImport {
        self.normalisation = Some((mean.into(), std.into()));
        self
    }
}

/// A network that has been read from a file.
struct Parts {
    stored: Stored,
    weights: BTreeMap<String, Array>,
    inputs: InputSpec,
    sample: ValueType,
    yes: Option<Yes>,
}

impl Trained {
    /// Opens the network of an ONNX file, as it is, without a run.
    ///
    /// The file has one input, whose first axis is the batch. All operators that `docs/onnx.md` lists are known;
    /// weights in other files are read from beside it. Doubles are computed as floats, and integers in 32 bits.
    ///
    /// # Errors
    /// The file is no model, uses operators that are not known (all are named), or works for one batch size only.
    pub fn open_onnx(file: impl AsRef<Path>, options: &OnnxImport, runtime: &Runtime) -> Result<Trained> {
        let path = file.as_ref();
        let open = || {
            let Parts { stored, mut weights, inputs, yes, .. } = read(path, options)?;
            let take = |name: &str, _: &ValueType| {
                weights.remove(name).ok_or_else(|| Error::file(format!("has no tensor {name}")))
            };
            let Stored { predict, hypers, .. } = stored;
            let (template, program) = predict.checked(|_| false)?;
            let all = Weights::of(&[(&program, &predict)], hypers, runtime, Choices::new(), take)?;
            let forward = Forward::from_text(template.clone(), &program, BTreeMap::new(), Arc::new(all))?;
            Ok(Trained::of(inputs, forward, yes))
        };
        open().map_err(|error: Error| error.context(path.display()))
    }
}

/// Makes a run of the network of an ONNX file, which the command line and [`Trained::open`] then take as they take any
/// other.
///
/// # Errors
/// As [`Trained::open_onnx`], or the folder holds something already.
pub fn import_onnx(
    file: impl AsRef<Path>,
    run: impl AsRef<Path>,
    options: &OnnxImport,
    runtime: &Runtime,
) -> Result<()> {
    let path = file.as_ref();
    let imported = read(path, options).map_err(|error| error.context(path.display()))?;
    let run = RunDir::open(run.as_ref())?;
    if run.has_checkpoint()? {
        return Err(Error::file(format!(
            "{}: holds another run; choose a folder that is empty or not there yet",
            run.path().display()
        )));
    }
    let mut about =
        Manifest::new(imported.sample.dtype, imported.inputs, Training::default(), Environment::now(runtime));
    about.yes = imported.yes;
    imported.stored.describe(&mut about);
    save_imported(&run, &about, &imported.stored, &imported.weights)
}

fn read(path: &Path, options: &OnnxImport) -> Result<Parts> {
    let mut bytes = Vec::new();
    // Whoever calls names the file.
    let mut file = calls::open(path).map_err(|error| Error::io("cannot read it", error))?;
    let failed = |error: std::io::Error| Error::io("cannot read", error);
    if file.len().map_err(failed)? > MOST_BYTES {
        return Err(Error::file("is larger than the 2 GiB that the format allows"));
    }
    Read::by_ref(&mut file).take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let model = Model::parse(&bytes)?;
    model.check_operators()?;
    let all = model.inputs()?;
    let [input] = all.as_slice() else {
        let names: Vec<&str> = all.iter().map(|input| input.name.as_str()).collect();
        return Err(Error::file(format!(
            "has {} inputs ({}); only networks of one input can be opened",
            all.len(),
            names.join(", ")
        )));
    };
    // What the graph does with raw inputs first is done as in every run instead, so that this one takes what others
    // take.
    let metadata =
        |key: &str| model.metadata().iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let unprepared = options.normalisation.is_none()
        && metadata("preprocessing").is_some_and(|how| how != "none")
        && model.prepares();
    let mut imported = Vec::new();
    for size in SIZES {
        let mut how = ImportOptions {
            batch: size,
            extents: options.extents.clone(),
            unprepared,
            ..ImportOptions::default()
        };
        how.outputs.extend(options.output.clone());
        // A batch that the file fixes is opened.
        if let Some(Some(fixed)) = input.shape.first().copied() {
            let rest = input.shape[1..].iter().map(|extent| extent.unwrap_or(1));
            let shape: Vec<usize> = std::iter::once(size).chain(rest).collect();
            how.shapes.insert(input.name.clone(), shape);
            let import = model.import(&how, &|name, at, length| outside(path, name, at, length));
            let import = import.map_err(|error| {
                Error::from(error)
                    .context(format!("the file is for batches of {fixed}, and does not work for {size}"))
            })?;
            imported.push(import);
        } else {
            imported.push(model.import(&how, &|name, at, length| outside(path, name, at, length))?);
        }
    }
    // Data call it so, and whoever predicts.
    for one in &mut imported {
        one.program.inputs.iter_mut().for_each(|port| port.name = INPUT.into());
        one.program.outputs.truncate(1);
        for port in &mut one.program.outputs {
            port.name = PREDICTION.into();
        }
    }
    let programs: Vec<(usize, &Program)> =
        SIZES.into_iter().zip(imported.iter().map(|one| &one.program)).collect();
    let template = Template::of(&programs)?;
    let program = &imported[0].program;
    let names = program.states.iter().map(|state| state.name.clone());
    let weights: BTreeMap<String, Array> = names.zip(imported[0].states.iter().cloned()).collect();
    let port = program.inputs.first().ok_or_else(|| Error::file("the network does not use its input"))?;
    let ty = program.ty(port.value);
    let sample = ValueType::new(ty.dtype, ty.shape.get(1..).unwrap_or_default());
    let inputs = described(&model, options, &sample, unprepared)?;
    if let (Some(names), Some(output)) = (&options.classes, program.outputs.first()) {
        check_classes(names, program.ty(output.value))?;
    }
    let yes = metadata(YES).and_then(Yes::from_word);
    Ok(Parts { stored: Stored::imported(template), weights, inputs, sample, yes })
}

/// Refuses names of classes that cannot be those of the network's outputs.
fn check_classes(names: &[String], output: &ValueType) -> Result<()> {
    let given = output.shape.get(1).copied().unwrap_or(1);
    // One number tells two classes apart.
    if !names.is_empty() && names.len() != given && !(given == 1 && names.len() == 2) {
        return Err(Error::setting(format!(
            "{} classes are named, and the network gives {given} numbers for each sample; name as many",
            names.len()
        )));
    }
    let twice = |(place, name): (usize, &String)| names[..place].contains(name) || name.is_empty();
    match names.iter().enumerate().position(twice) {
        Some(place) => Err(Error::setting(format!(
            "class {} is called {:?}: each needs a name of its own",
            place + 1,
            names[place]
        ))),
        None => Ok(()),
    }
}

/// What the metadata and the options say of inputs and outputs.
fn described(
    model: &Model<'_>,
    options: &OnnxImport,
    sample: &ValueType,
    unprepared: bool,
) -> Result<InputSpec> {
    let entry =
        |key: &str| model.metadata().iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let bad =
        |key: &str| Error::file(format!("its metadata `{key}` are no JSON list; say them when importing"));
    let numbers = |key: &str| -> Result<Vec<f32>> {
        // Where the graph normalises, nobody else has to.
        let text =
            entry(key).filter(|_| unprepared || entry("preprocessing").is_none_or(|how| how == "none"));
        text.map_or(Ok(Vec::new()), |text| serde_json::from_str(text).map_err(|_| bad(key)))
    };
    let classes = match (&options.classes, entry("classes")) {
        (Some(classes), _) => classes.clone(),
        (None, Some(text)) => serde_json::from_str(text).map_err(|_| bad("classes"))?,
        (None, None) => Vec::new(),
    };
    let (mean, std) = match &options.normalisation {
        Some(both) => both.clone(),
        None => (numbers("mean")?, numbers("std")?),
    };
    let digits = entry("digits") == Some("true");
    Ok(InputSpec { shape: sample.shape.to_vec(), classes, mean, std, digits, ..InputSpec::default() })
}

/// Bytes of another file beside the model.
fn outside(model: &Path, name: &str, at: u64, length: Option<u64>) -> std::result::Result<Vec<u8>, String> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain || name.contains('\\') {
        return Err(format!("weights lie in {name}, which is not beside the model"));
    }
    let folder = model.parent().unwrap_or(Path::new(""));
    let path = folder.join(name);
    let failed = |error: std::io::Error| format!("{}: cannot read: {error}", path.display());
    let real = calls::real(&path).map_err(failed)?;
    let home = calls::real(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    if !real.starts_with(home.map_err(failed)?) {
        return Err(format!("weights lie in {name}, which leads to another folder"));
    }
    let mut file = calls::open(&real).map_err(failed)?;
    let rest = file.len().map_err(failed)?.checked_sub(at);
    let rest = rest.ok_or_else(|| format!("{name} ends before a tensor begins"))?;
    let length = length.unwrap_or(rest);
    if length > rest || length > MOST_OUTSIDE {
        return Err(format!("{name} ends inside of a tensor"));
    }
    file.seek(SeekFrom::Start(at)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::OnnxOptions;
    use crate::{prelude::*, seq};

    fn folder(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("dropforge-onnx-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Each layer that predicts, exported and read again, gives the same numbers at batch sizes that were never traced.
    #[test]
    fn networks_come_back_the_same() {
        let folder = folder("round");
        let file = folder.join("net.onnx");
        let runtime = Runtime::shared().unwrap();
        let token = |scope: &Scope, x: &Tensor| {
            let y = scope.layer("table", &embedding(11, 8), x);
            let y = scope.layer("norm", &layer_norm(), &y);
            let heads = y.reshape(vec![x.shape()[0], x.shape()[1], 2, 4]).permute(&[0, 2, 1, 3]);
            heads.attention(&heads, &heads, true)
        };
        let nets: Vec<(&str, Box<dyn Layer>, ValueType)> = vec![
            (
                "convolutions",
                Box::new(seq![
                    conv(4, 3).same(),
                    batch_norm(),
                    relu(),
                    max_pool(2),
                    conv(6, 3).stride(2),
                    silu(),
                    avg_pool(2),
                    flatten(),
                    dense(5),
                    softmax(1)
                ]),
                ValueType::new(DType::F32, [2, 12, 12]),
            ),
            (
                "activations",
                Box::new(seq![
                    dense(9),
                    gelu(),
                    dense(9),
                    gelu_tanh(),
                    elu(1.0),
                    leaky_relu(0.1),
                    layer_norm(),
                    dense(4),
                    log_softmax(1)
                ]),
                ValueType::new(DType::F32, [7]),
            ),
            ("tokens", Box::new(token), ValueType::new(DType::I32, [6])),
        ];
        for (name, net, sample) in nets {
            let net: std::sync::Arc<dyn Layer> = net.into();
            let mut network = NetworkBuilder::new(net).seed(3).compile(sample.clone()).unwrap();
            for opset in [18, 20, 23] {
                network.save_onnx(&file, &OnnxOptions::new().opset(opset)).unwrap();
                let trained = Trained::open_onnx(&file, &OnnxImport::new(), &runtime).unwrap();
                let shape: Vec<usize> = std::iter::once(5).chain(sample.shape.iter().copied()).collect();
                let x = match sample.dtype {
                    DType::I32 => Tensor::from_vec((0..30).map(|i| i % 11).collect::<Vec<i32>>(), shape),
                    _ => Generator::new(1).randn(shape),
                };
                let expected = network.predict(&x).unwrap().to_vec::<f32>().unwrap();
                let found = trained.predict(x.to_array().unwrap()).unwrap().to_vec::<f32>().unwrap();
                assert_eq!(found.len(), expected.len(), "{name}");
                for (a, b) in expected.iter().zip(&found) {
                    assert!(
                        (a - b).abs() <= 1e-5 * a.abs().max(1.0),
                        "{name}, opset {opset}: {a} became {b}"
                    );
                }
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_imported_run_is_a_run() {
        let folder = folder("run");
        let (file, run) = (folder.join("net.onnx"), folder.join("run"));
        let runtime = Runtime::shared().unwrap();
        let mut network = Network::compile(seq![flatten(), dense(3)], [1, 2, 2]).unwrap();
        network.save_onnx(&file, &OnnxOptions::new()).unwrap();
        let options = OnnxImport::new().classes(["a", "b", "c"]).normalisation([0.5], [0.25]);
        import_onnx(&file, &run, &options, &runtime).unwrap();
        let trained = Trained::open(&run, &runtime).unwrap();
        let x = vec![0.1f32, 0.2, 0.3, 0.4];
        let normalised: Vec<f32> = x.iter().map(|x| (x - 0.5) / 0.25).collect();
        let expected =
            network.predict(Tensor::from_vec(normalised, [1, 1, 2, 2])).unwrap().to_vec::<f32>().unwrap();
        let found = trained.predict(x.clone()).unwrap().to_vec::<f32>().unwrap();
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        assert!(["a", "b", "c"].contains(&trained.classify(x).unwrap()[0].class.as_str()));
        for (names, part) in
            [(&["a"][..], "gives 3"), (&["a", "b", "a"], "class 3"), (&["a", "", "c"], "class 2")]
        {
            let options = OnnxImport::new().classes(names.iter().copied());
            let error = import_onnx(&file, folder.join("bad"), &options, &runtime).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        // It can be written again, and says its classes then.
        trained.save_onnx(&file, &OnnxOptions::new().normalising()).unwrap();
        let again = Trained::open_onnx(&file, &OnnxImport::new(), &runtime).unwrap();
        assert_eq!(again.classes(), ["a", "b", "c"]);
        let found = again.predict(vec![0.1f32, 0.2, 0.3, 0.4]).unwrap().to_vec::<f32>().unwrap();
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        // So it can with bytes as inputs, and takes numbers and bytes again then.
        trained.save_onnx(&file, &OnnxOptions::new().from_bytes()).unwrap();
        let again = Trained::open_onnx(&file, &OnnxImport::new(), &runtime).unwrap();
        assert_eq!((&again.inputs().mean, &again.inputs().std), (&vec![0.5], &vec![0.25]));
        let found = again.predict(vec![0.1f32, 0.2, 0.3, 0.4]).unwrap().to_vec::<f32>().unwrap();
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        let bytes = vec![51u8, 102, 0, 255];
        let [ours, theirs] = [&trained, &again].map(|run| run.probabilities(bytes.clone()).unwrap());
        assert!(ours[0].iter().zip(&theirs[0]).all(|(a, b)| (a - b).abs() < 1e-5), "{ours:?} {theirs:?}");
        let message = import_onnx(&file, &run, &options, &runtime).unwrap_err().to_string();
        assert!(message.contains("holds another run"), "{message}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// No second softmax or sigmoid is taken of what ends in one, for probabilities, decisions and what is measured.
    #[test]
    fn what_ends_in_probabilities_is_taken_as_it_is() {
        use crate::metric::{Metric, f1, log_loss};
        use dropforge_data::{Dataset, Description};
        let folder = folder("ends");
        let (file, runtime) = (folder.join("net.onnx"), Runtime::shared().unwrap());
        let nets: [(&str, Box<dyn Layer>, &[&str]); 6] = [
            ("softmax", Box::new(seq![dense(3), softmax(1)]), &["a", "b", "c"]),
            ("logarithms", Box::new(seq![dense(3), log_softmax(1)]), &["a", "b", "c"]),
            ("scores", Box::new(dense(3)), &["a", "b", "c"]),
            ("two", Box::new(seq![dense(2), softmax(1)]), &["a", "b"]),
            ("sigmoid", Box::new(seq![dense(1), sigmoid()]), &["a", "b"]),
            ("logit", Box::new(dense(1)), &["a", "b"]),
        ];
        let values: Vec<f32> = (0..12).map(|i| (i as f32 * 1.7).sin() * 2.0).collect();
        for (name, net, classes) in nets {
            let net: Arc<dyn Layer> = net.into();
            let mut network = NetworkBuilder::new(net).seed(4).compile([2]).unwrap();
            network.save_onnx(&file, &OnnxOptions::new()).unwrap();
            let options = OnnxImport::new().classes(classes.iter().copied());
            let _ = std::fs::remove_dir_all(folder.join("run"));
            import_onnx(&file, folder.join("run"), &options, &runtime).unwrap();
            let trained = Trained::open(folder.join("run"), &runtime).unwrap();
            let given = network.predict(Tensor::from_vec(values.clone(), [6, 2])).unwrap();
            let expected = match name {
                "softmax" | "two" | "sigmoid" => given,
                "logit" => given.sigmoid(),
                _ => given.softmax(1),
            };
            let expected: Vec<f32> = expected.to_vec().unwrap();
            let found = trained.probabilities(values.clone()).unwrap();
            let yes = |row: &Vec<f32>| if expected.len() == 6 { vec![row[1]] } else { row.clone() };
            for (a, b) in expected.iter().zip(found.iter().flat_map(yes)) {
                assert!((a - b).abs() < 1e-5, "{name}: {expected:?} {found:?}");
            }
            // As many samples of each class.
            let truth: Vec<i32> = (0..6).map(|i| i % classes.len() as i32).collect();
            let about = Description::classes("points", &[2], classes.iter().copied());
            let data = Dataset::from_f32(about, values.clone(), truth.clone()).unwrap();
            let loss: f64 =
                truth.iter().zip(&found).map(|(&class, row)| -f64::from(row[class as usize]).ln()).sum();
            let measured = trained.evaluate(&data, 4).unwrap();
            assert!((measured.loss - loss / 6.0).abs() < 1e-4, "{name}: {} {}", measured.loss, loss / 6.0);
            let right = truth.iter().zip(&found).filter(|(class, row)| {
                let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
                best == **class as usize
            });
            let right = right.count() as f64 / 6.0;
            let metrics: [Arc<dyn Metric>; 3] =
                [Arc::new(crate::metric::accuracy()), Arc::new(log_loss()), Arc::new(f1())];
            let meter = trained.meter(&data).unwrap().metrics(metrics);
            let measured = trained.evaluate_by(&data, 4, meter).unwrap();
            assert_eq!(measured.get("accuracy"), Some(right), "{name}");
            assert!((measured.get("log_loss").unwrap() - loss / 6.0).abs() < 1e-4, "{name}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// What outputs say of a yes comes along: several have a probability each.
    #[test]
    fn questions_of_yes_and_no_stay_so() {
        let folder = folder("questions");
        let (run, file, again) = (folder.join("run"), folder.join("net.onnx"), folder.join("again"));
        let runtime = Runtime::shared().unwrap();
        let data = dropforge_data::from_records((0..8).map(|i| ([i as f32], [1.0f32, 0.0]))).unwrap();
        for loss in [&crate::loss::bce_with_logits() as &dyn crate::loss::Loss, &crate::loss::bce()] {
            let loss: Box<dyn crate::loss::Loss> =
                crate::run::registry::build(&loss.config().unwrap().into()).unwrap();
            let net = seq![dense(2), sigmoid()];
            let mut trainer = Trainer::new(net, loss, Sgd::new(0.1)).compile(&data).unwrap();
            trainer.save_over(&run).unwrap();
            let trained = Trained::open(&run, &runtime).unwrap();
            trained.save_onnx(&file, &OnnxOptions::new()).unwrap();
            let opened = Trained::open_onnx(&file, &OnnxImport::new(), &runtime).unwrap();
            import_onnx(&file, &again, &OnnxImport::new(), &runtime).unwrap();
            let imported = Trained::open(&again, &runtime).unwrap();
            let expected = trained.probabilities(vec![0.5f32]).unwrap();
            assert!((expected[0][0] + expected[0][1] - 1.0).abs() > 1e-3, "{expected:?}");
            for other in [opened, imported] {
                assert_eq!(other.probability(0.25), trained.probability(0.25));
                let found = other.probabilities(vec![0.5f32]).unwrap();
                assert!(found[0].iter().zip(&expected[0]).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
            }
            std::fs::remove_dir_all(&again).unwrap();
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn weights_outside_stay_beside_the_model() {
        let folder = folder("outside");
        let model = folder.join("net.onnx");
        std::fs::write(folder.join("weights.bin"), [1, 2, 3, 4]).unwrap();
        assert_eq!(outside(&model, "weights.bin", 1, Some(2)).unwrap(), [2, 3]);
        assert_eq!(outside(&model, "weights.bin", 1, None).unwrap(), [2, 3, 4]);
        for (name, at, length) in [
            ("../x", 0, None),
            ("/etc/passwd", 0, None),
            ("", 0, None),
            ("weights.bin", 5, None),
            ("weights.bin", 2, Some(3)),
        ] {
            assert!(outside(&model, name, at, length).is_err(), "{name} {at}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc", folder.join("away")).unwrap();
            let message = outside(&model, "away/passwd", 0, None).unwrap_err();
            assert!(message.contains("another folder"), "{message}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
