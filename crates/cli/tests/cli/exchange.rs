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
    let message = folder.fail("export run --onnx old.onnx --opset 9");
    assert!(message.contains("opset 9") && message.contains("18"), "{message}");
    folder.write("broken.onnx", &folder.read("net.onnx")[..200]);
    let message = folder.fail("import broken.onnx --out other");
    assert!(message.contains("broken.onnx") && message.contains("damaged"), "{message}");
    assert!(folder.fail("import net.onnx --out run").contains("holds another run"));
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
    folder.write("evil.pt", "PK not a zip");
    assert!(folder.fail("weights show evil.pt").contains("evil.pt"));
}
