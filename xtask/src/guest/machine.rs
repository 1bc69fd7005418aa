//! The guest's machine: QEMU in software, with two virtio NICs of two queues each behind an IOMMU, joined by a bridge in
//! a network namespace that ends with it.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run;

/// The bridge and QEMU's ends of the cables; then the program that the words behind it name.
const CABLES: &str = "
set -e
ip link add cables type bridge
for name in left right; do
    ip tuntap add $name mode tap multi_queue
    ip link set $name master cables
done
for name in cables left right; do
    sysctl -qw net.ipv6.conf.$name.disable_ipv6=1
    ip link set $name up
done
exec \"$@\"
";

/// What `virtio_net` wants before it lets AF_XDP at its rings: DMA addresses (Linux: virtqueue_dma_dev).
const NIC: &str = "mq=on,vectors=6,romfile=,iommu_platform=on,disable-legacy=on";

/// QEMU on this kernel and these files, ended after so many seconds. What the guest says is its output.
///
/// One processor: on several, QEMU 7.2 in software runs into instructions that another processor is just patching.
pub(super) fn command(kernel: &Path, files: &Path, seconds: u32) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", CABLES, "cables", "qemu-system-x86_64"]);
    command.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "768"]);
    command.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    command.args(["-device", "intel-iommu,intremap=off,device-iotlb=on"]);
    for (n, cable) in ["left", "right"].iter().enumerate() {
        let tap = format!("tap,id={cable},ifname={cable},script=no,downscript=no,queues=2,vnet_hdr=off");
        let nic = format!("virtio-net-pci,netdev={cable},mac=52:54:00:00:00:0{n},{NIC}");
        command.args(["-netdev", &tap, "-device", &nic]);
    }
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(files);
    command
        .args(["-append", "console=ttyS0 quiet oops=panic panic=-1 intel_iommu=on rcupdate.rcu_expedited=1"]);
    command.stdin(Stdio::null());
    run::limited(&command, seconds)
}
