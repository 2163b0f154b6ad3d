#!/bin/sh
sleep 0.2
printf result
