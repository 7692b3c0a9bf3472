//! Networks and weights as files of other programs, and back.

use crate::common::{Folder, LINEAR, number};

fn trained(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("linear.toml", LINEAR);
    folder.succeed("train --model linear.toml --data digits:60 --batch 20 --epochs 1 --out run");
    folder
}

#[cfg(feature = "onnx")]
#[test]
fn a_run_goes_through_an_onnx_file() {
    let folder = trained("onnx");
    let text = folder.succeed("export run --onnx net.onnx");
    assert!(text.contains("net.onnx"), "{text}");
    folder.succeed("import net.onnx --out again");
    let probabilities = |run: &str| folder.succeed(&format!("predict {run} --data digits:60 --json"));
    let (ours, theirs) = (probabilities("run"), probabilities("again"));
    assert_eq!(ours.lines().count(), theirs.lines().count());
    for (a, b) in ours.lines().zip(theirs.lines()) {
        assert!((number(a, "probability") - number(b, "probability")).abs() < 1e-5, "{a} {b}");
    }
    // With what is done to raw inputs in the file, it is the same network again.
    folder.write("one.png", grey(28, 28));
    let picture =
        |run: &str| number(folder.succeed(&format!("predict {run} one.png --json")).trim(), "probability");
    let measured = |line: &str| number(folder.succeed(&format!("eval {line} --json")).trim(), "test_loss");
    let loss = measured("run --data digits:60");
    for form in ["floats", "bytes"] {
        folder.succeed(&format!("export run --onnx {form}.onnx --preprocess {form}"));
        folder.succeed(&format!("import {form}.onnx --out {form}"));
        assert!((picture(form) - picture("run")).abs() < 1e-5, "{form}");
        assert!((measured(&format!("{form} --data digits:60")) - loss).abs() < 1e-5, "{form}");
    }
    assert!(folder.succeed("eval again --data digits:60 --metrics f1").contains("test f1 "));
    let message = folder.fail("export run --onnx old.onnx --opset 9");
    assert!(message.contains("opset 9") && message.contains("18"), "{message}");
    folder.write("broken.onnx", &folder.read("net.onnx")[..200]);
    let message = folder.fail("import broken.onnx --out other");
    assert!(message.contains("broken.onnx") && message.contains("damaged"), "{message}");
    assert!(folder.fail("import net.onnx --out run").contains("holds another run"));
    for (line, part) in [
        ("eval again", "say what to measure it on with --data"),
        ("eval again --data digits:60 --loss mse", "which cross_entropy takes"),
        ("eval again --data digits:60 --metrics f2", "--metrics: unknown metric `f2`"),
        ("explain again --evaluation", "says nothing of a loss"),
        ("train --resume again", "--from again"),
    ] {
        let message = folder.fail(line);
        assert!(message.contains(part), "{line}: {message}");
    }
}

/// What somebody has is replaced only by its like; links, devices and pipes stay what they are.
#[test]
fn files_of_others_stay() {
    let folder = trained("outputs");
    folder.write("notes.txt", "mine");
    let lines = [
        #[cfg(feature = "onnx")]
        "export run --onnx notes.txt",
        "pack run --out notes.txt",
        "weights convert run --out notes.txt",
        "report run --out notes.txt",
        "train --model linear.toml --data digits:60 --epochs 1 --out traced --trace notes.txt",
        "init notes.txt",
    ];
    for line in lines {
        assert!(folder.fail(line).contains("notes.txt: is there already"), "{line}");
        assert!(
            folder.fail(&line.replace("notes.txt", "none/a")).contains("there is no folder none; make it")
        );
        assert!(folder.fail(&line.replace("notes.txt", "run")).contains("is a folder"), "{line}");
    }
    assert_eq!(folder.read("notes.txt"), b"mine");
    assert!(!folder.path().join("traced").exists());
    folder.write("chart.svg", "<svg>mine</svg>");
    assert!(folder.fail("plot run --what loss --out chart.svg").contains("is no chart"));
    assert!(folder.fail("pack run --out run/model.safetensors").contains("is no packed run"));
    // Twice, so that its own is replaced.
    for _ in 0..2 {
        folder.succeed("report run");
        folder.succeed("plot run --what loss --out loss.svg");
        folder.succeed("weights convert run --out a.npz");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("target", folder.path().join("link")).unwrap();
        folder.succeed("pack run --out link");
        assert!(std::fs::read_link(folder.path().join("link")).is_ok());
        folder.succeed("weights diff run target");
        let output = folder.run("pack run --out /dev/stdout");
        assert!(output.status.success() && output.stdout == folder.read("target"), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("note: run is in /dev/stdout"));
    }
}

/// A packed run either does or says what it lacks.
#[test]
fn a_packed_run_is_taken_or_says_what_it_lacks() {
    let folder = trained("taken");
    folder.succeed("pack run --out net.dropforge");
    for line in [
        "eval net.dropforge --data digits:60",
        "summary net.dropforge",
        "explain net.dropforge",
        "explain net.dropforge --evaluation",
        "report net.dropforge --data digits:60 --out report.html",
        "plot net.dropforge --what confusion --data digits:60",
        #[cfg(feature = "onnx")]
        "export net.dropforge --onnx net.onnx",
        "weights show net.dropforge",
    ] {
        folder.succeed(line);
    }
    for (line, part) in [
        ("eval net.dropforge", "with --data"),
        ("report net.dropforge", "with --out"),
        ("sample net.dropforge", "not trained on a text"),
        ("pack net.dropforge --out other", "needs the folder of a run"),
        ("train --resume net.dropforge", "needs the folder of a run"),
        ("train --out net.dropforge", "is a file"),
        ("runs net.dropforge", "is a file"),
        ("eval net.dropforge --best", "open the folder of the run"),
        ("lr-find --resume run", "--resume"),
    ] {
        let message = folder.fail(line);
        assert!(message.contains(part), "{line}: {message}");
    }
}

/// A grey picture as PNG without compression.
#[cfg(feature = "onnx")]
fn grey(width: u32, height: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height).map(|i| (i * 37 % 256) as u8).collect();
    crate::common::png(width, height, &pixels)
}

#[test]
fn a_run_is_one_file() {
    let folder = trained("pack");
    folder.succeed("pack run --out net.dropforge");
    let rows = |run: &str| folder.succeed(&format!("predict {run} --data digits:60 --csv"));
    assert_eq!(rows("run"), rows("net.dropforge"));
    assert_eq!(folder.succeed("weights diff run net.dropforge"), "2 tensors are the same\n");
    folder.write("half", &folder.read("net.dropforge")[..3000]);
    assert!(folder.fail("predict half --data digits:60 --csv").starts_with("half: "));
    folder.succeed("weights convert run --out plain.safetensors");
    assert!(folder.fail("predict plain.safetensors --data digits:60 --csv").contains("is no packed run"));
}

#[test]
fn weights_are_shown_compared_and_converted() {
    let folder = trained("weights");
    let text = folder.succeed("weights show run");
    assert!(text.contains("weight  f32[10, 784]") && text.contains("2 tensors, 7850 elements"), "{text}");
    let text = folder.succeed("weights convert run --out net.npz");
    assert!(text.contains("2 tensors"), "{text}");
    assert!(folder.succeed("weights diff run net.npz").contains("2 tensors are the same"));
    folder.succeed("train --model linear.toml --data digits:60 --batch 20 --epochs 2 --seed 1 --out other");
    let text = folder.succeed("weights diff run other");
    assert!(text.contains("differs by up to") && text.contains("0 tensors are the same"), "{text}");
    for damaged in ["PK not a zip", "PK not a zip, and longer than the end of one"] {
        folder.write("evil.pt", damaged);
        let error = folder.fail("weights show evil.pt");
        assert!(
            error.contains("evil.pt") && error.contains("zip archive") && !error.contains("npz"),
            "{error}"
        );
    }
    // What is written is no file of PyTorch, and must not be named like one.
    for name in ["net.pth", "net.bin", "net.onnx"] {
        assert!(folder.fail(&format!("weights convert run --out {name}")).contains(".safetensors or .npz"));
        assert!(!folder.path().join(name).exists());
    }
}

#[test]
fn a_good_pack_is_not_lost_to_a_damaged_run() {
    let folder = trained("pack-damaged");
    folder.succeed("pack run --out net.dropforge");
    let (good, newest) = (folder.read("net.dropforge"), folder.newest("run"));
    for name in ["predict.txt", "evaluate.txt", "run.toml"] {
        let path = format!("{newest}/{name}");
        let text = folder.read(&path);
        for part in [0, text.len() / 2] {
            folder.write(&path, &text[..part]);
            let error = folder.fail("pack run --out net.dropforge");
            assert!(error.contains(name), "{name}: {error}");
            assert!(folder.read("net.dropforge") == good, "{name}");
        }
        folder.write(&path, &text);
    }
    folder.succeed("pack run --out net.dropforge");
    let config = folder.read("run/config.toml");
    for part in [&b""[..], &config[..config.len().min(90)]] {
        folder.write("run/config.toml", part);
        let error = folder.fail("train --resume run --epochs 2");
        assert!(error.contains("config.toml"), "{error}");
        assert!(error.contains("is empty or damaged") || !part.is_empty(), "{error}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_said() {
    let folder = trained("nan");
    folder.succeed("weights convert run --out good.safetensors");
    let path = format!("{}/model.safetensors", folder.newest("run"));
    let mut weights = folder.read(&path);
    let len = weights.len();
    weights[len - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write(&path, &weights);
    let damaged = folder.fail("weights show run");
    assert!(damaged.contains("1.bias: is damaged or has been changed"), "{damaged}");
    // A file of somebody else's has no sums of its bytes.
    let sums = b"dropforge.checksums";
    let at = weights.windows(sums.len()).position(|part| part == sums).unwrap();
    weights[at..at + sums.len()].copy_from_slice(b"somebody.else's_own");
    folder.write(&path, &weights);
    let text = folder.succeed("weights show run");
    assert!(text.contains(", 1 NaN") && text.contains(" to ") && !text.contains("mean NaN"), "{text}");
    let text = folder.succeed("weights diff good.safetensors run");
    assert!(text.contains("NaN on one side in 1 of 10 elements") && !text.contains("0.000e0"), "{text}");
    let pixels: Vec<u8> = (0..784)
        .map(|i| if (10..18).contains(&(i % 28)) && (84..700).contains(&i) { 255 } else { 0 })
        .collect();
    folder.write("one.png", crate::common::png(28, 28, &pixels));
    for line in ["predict run one.png", "predict run one.png --json", "predict run --data digits:60 --csv"] {
        let error = folder.fail(line);
        assert!(error.contains("the outputs are no numbers: the weights of the run hold NaN"), "{error}");
    }
}

#[test]
fn a_table_is_predicted_whatever_stands_for_its_target() {
    let folder = Folder::new("unlabelled");
    let rows = |target: &dyn Fn(usize) -> String| -> String {
        (0..20).map(|i| format!("{i},{},{}\n", i % 3, target(i))).collect()
    };
    folder.write("t.csv", format!("a,b,y\n{}", rows(&|i| (2 * i).to_string())));
    folder.succeed("train --model mlp --data table:t.csv?target=y --epochs 1 --out run");
    for (name, target) in [("full.csv", "1"), ("empty.csv", ""), ("unknown.csv", "unknown")] {
        folder.write(name, format!("a,b,y\n{}", rows(&|_| target.into())));
    }
    let predicted =
        |name: &str, rest: &str| folder.succeed(&format!("predict run --data table:{name}{rest} --csv"));
    for name in ["empty.csv", "unknown.csv"] {
        for rest in ["", "?target=y"] {
            assert_eq!(predicted(name, rest), predicted("full.csv", rest), "{name}{rest}");
        }
    }
    assert!(folder.fail("eval run --data table:empty.csv?target=y").contains("line 2"));
}
