# shellcheck shell=bash
kind_is_usable() { false; }
