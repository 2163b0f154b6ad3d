# What a web server's access log says: requests by status, bytes sent, lines that are not requests.
use strict;
use warnings;
use JSON::PP;

my $query = decode_json(do { local $/; <STDIN> });
my (%status, $bytes, $unreadable);
$bytes = $unreadable = 0;

for my $line (split /\n/, $query->{log}) {
    if ($line =~ m{^\S+ \S+ \S+ \[[^]]+\] "[A-Z]+ [^"]*" (\d{3}) (\d+|-)}) {
        $status{$1}++;
        $bytes += $2 eq '-' ? 0 : $2;
    } else {
        $unreadable++;
        warn "not a request: $line\n";
    }
}

print JSON::PP->new->canonical->encode({status => \%status, bytes => $bytes, unreadable => $unreadable});
