#!/bin/sh
# Prints the device that suits this machine: wgpu where a graphics card and a Vulkan loader are present, else flex.
# A software adapter is no graphics card: only cards of AMD (1002), NVIDIA (10de) and Intel (8086) count.
set -eu

card() {
    [ -e /dev/nvidia0 ] && return 0
    for node in /dev/dri/renderD*; do
        vendor=/sys/class/drm/${node##*/}/device/vendor
        if [ -r "$vendor" ]; then
            case $(cat "$vendor") in 0x1002 | 0x10de | 0x8086) return 0 ;; esac
        fi
    done
    return 1
}

vulkan() {
    for folder in /usr/lib /usr/lib64 /usr/lib/*-linux-gnu /usr/local/lib; do
        [ -e "$folder/libvulkan.so.1" ] && return 0
    done
    return 1
}

if card && vulkan; then echo wgpu; else echo flex; fi
