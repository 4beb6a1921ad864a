#!/bin/sh
echo /root/.cache/pgset-test/scripts/$2
