#!/bin/sh
printf '\000\377\376\r\n\200 no line end'
