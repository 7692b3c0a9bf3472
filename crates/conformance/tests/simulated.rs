//! Plans carried out literally, against PyTorch.

use dropforge_conformance::check_all;
use dropforge_runtime::simulate::SimulatedDevice;

#[test]
fn plans_agree_with_pytorch() {
    check_all(&SimulatedDevice, &[]);
}
