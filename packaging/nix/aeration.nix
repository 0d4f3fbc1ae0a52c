# SPDX-License-Identifier: GPL-2.0
# NixOS: imports = [ ./aeration.nix ]; services.aeration.enable = true;
{ config, lib, pkgs, ... }:
let
  source = ../..;
  version = lib.fileContents (source + "/VERSION");
  kernel = config.boot.kernelPackages.kernel;
  modules = pkgs.stdenv.mkDerivation {
    pname = "aeration-modules";
    inherit version;
    src = source;
    nativeBuildInputs = kernel.moduleBuildDependencies;
    hardeningDisable = [ "pic" "format" ];
    buildPhase = ''
      make -C ${kernel.dev}/lib/modules/${kernel.modDirVersion}/build M=$PWD modules
    '';
    installPhase = ''
      make -C ${kernel.dev}/lib/modules/${kernel.modDirVersion}/build M=$PWD \
        INSTALL_MOD_PATH=$out modules_install
    '';
  };
  tools = pkgs.stdenv.mkDerivation {
    pname = "aeration-tools";
    inherit version;
    src = source;
    buildPhase = "make -C ctl OUTPUT=$PWD/out";
    installPhase = "make -C ctl OUTPUT=$PWD/out PREFIX=$out install";
  };
in {
  options.services.aeration.enable =
    lib.mkEnableOption "giving unused memory back to the hypervisor";
  config = lib.mkIf config.services.aeration.enable {
    boot.extraModulePackages = [ modules ];
    boot.kernelModules = [ "aeration" ];
    # profiles/qemu-guest.nix loads the stock driver in the first stage: before it.
    boot.initrd.kernelModules = lib.mkBefore [ "aeration_virtio" ];
    boot.extraModprobeConfig = "softdep virtio_balloon pre: aeration_virtio";
    environment.systemPackages = [ tools ];
  };
}
