//! The compilation of a package.

use std::{fs, io::Write, process::Stdio};

use serde_json::json;

use crate::driver::first_process;

pub(crate) fn a_package_is_compiled_without_network_into_its_folder() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &str| home.path().join(path);
    for directory in ["root", "vcap/packages/tool", "vcap/data/compile/tool", "store/dep/f0"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    std::os::unix::fs::symlink("/var/vcap/data/packages/dep/f0", at("vcap/packages/dep")).unwrap();
    fs::write(at("store/dep/f0/part"), "from the dependency").unwrap();
    let packaging = "set -e; [ $(pwd) = $BOSH_COMPILE_TARGET ]; ls /sys/class/net > $BOSH_INSTALL_TARGET/net;\
        cp /var/vcap/packages/dep/part $BOSH_INSTALL_TARGET/; echo $BOSH_PACKAGE_NAME $BOSH_PACKAGE_VERSION > $BOSH_INSTALL_TARGET/name";
    fs::write(at("vcap/data/compile/tool/packaging"), packaging).unwrap();
    let mut child = first_process(&["lab", "compile"], Stdio::piped());
    let order =
        json!({"root": at("root"), "vcap": at("vcap"), "packages": at("store"), "name": "tool", "version": "f1"});
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let made = |name: &str| fs::read_to_string(at("vcap/packages/tool").join(name)).unwrap();
    assert_eq!(
        (made("net").as_str(), made("part").as_str(), made("name").as_str()),
        ("lo\n", "from the dependency", "tool f1\n")
    );
}
