//! Windows, slices and paddings of any geometry, on the interpreter and on plans carried out literally.

use dropforge_conformance::check_geometries;
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::simulate::SimulatedDevice;

#[test]
fn the_interpreter() {
    let met = check_geometries(&ReferenceDevice, 0..3000);
    assert!(met.refused > 300 && met.computed > 1000 && met.huge > 150, "{met:?}");
}

#[test]
fn plans() {
    check_geometries(&SimulatedDevice, 3000..4500);
}
